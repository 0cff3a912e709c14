#include "base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <memory>
#include <utility>

#include "base/printable.h"

namespace weir::logging {
namespace {

std::atomic<Level> threshold{Level::info};
std::atomic<Format> shape{Format::text};

spdlog::logger& logger() {
  static const std::shared_ptr<spdlog::logger> first = [] {
    auto made = std::make_shared<spdlog::logger>("weir", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%Y-%m-%dT%H:%M:%S.%e %L %v");
    spdlog::set_default_logger(made);
    return made;
  }();
  return *spdlog::default_logger_raw();
}

spdlog::level::level_enum spd(Level level) {
  switch (level) {
    case Level::trace: return spdlog::level::trace;
    case Level::debug: return spdlog::level::debug;
    case Level::info: return spdlog::level::info;
    case Level::warn: return spdlog::level::warn;
    case Level::error: return spdlog::level::err;
    case Level::off: return spdlog::level::off;
  }
  return spdlog::level::off;
}

// The room a file lies in: ".../src/broker/api/table.cc" is "broker".
std::string_view room_of(std::string_view file) {
  const auto at = file.rfind("src/");
  if (at == std::string_view::npos) return "weir";
  file.remove_prefix(at + 4);
  return file.substr(0, file.find('/'));
}

void append_json(std::string& out, std::string_view text) {
  for (const char c : text) {
    if (c == '"' || c == '\\') out.push_back('\\');
    out.push_back(c);
  }
}

}  // namespace

void init(const Options& options) {
  threshold = options.level;
  shape = options.format;
  logger();
  spdlog::sink_ptr sink;
  if (options.file.empty()) {
    sink = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.file);
  }
  auto made = std::make_shared<spdlog::logger>("weir", std::move(sink));
  made->set_level(spdlog::level::trace);
  made->flush_on(spdlog::level::info);
  // A JSON line's message part arrives already escaped, with its room.
  made->set_pattern(options.format == Format::json ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","pid":%P,%v})"
                                                   : "%Y-%m-%dT%H:%M:%S.%e %L %v");
  spdlog::set_default_logger(std::move(made));
}

bool parse(std::string_view text, Level& level) {
  std::string low(text);
  std::ranges::transform(low, low.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  constexpr std::array<std::pair<std::string_view, Level>, 7> names{{{"trace", Level::trace},
                                                                     {"debug", Level::debug},
                                                                     {"info", Level::info},
                                                                     {"warn", Level::warn},
                                                                     {"warning", Level::warn},
                                                                     {"error", Level::error},
                                                                     {"off", Level::off}}};
  for (const auto& [known, value] : names) {
    if (low == known) {
      level = value;
      return true;
    }
  }
  return false;
}

bool enabled(Level level) { return level >= threshold.load(std::memory_order_relaxed); }

void write(Level level, std::string_view file, fmt::string_view format, fmt::format_args args) {
  // A line of log is one line, and text: what a peer sends cannot forge another, nor speak to the terminal.
  const std::string text = printable(fmt::vformat(format, args));
  const auto room = room_of(file);
  std::string line;
  if (shape.load(std::memory_order_relaxed) == Format::json) {
    line = fmt::format(R"("room":"{}","message":")", room);
    append_json(line, text);
    line.push_back('"');
  } else {
    line = fmt::format("[{}] {}", room, text);
  }
  logger().log(spd(level), spdlog::string_view_t(line.data(), line.size()));
}

}  // namespace weir::logging
