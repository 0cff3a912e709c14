#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "base/error.h"
#include "base/id.h"
#include "base/log.h"
#include "base/uuid.h"

namespace weir {
namespace {

TEST(Error, names_are_those_of_kafka) {
  EXPECT_EQ(name(ErrorCode::NONE), "NONE");
  EXPECT_EQ(static_cast<int>(ErrorCode::COORDINATOR_NOT_AVAILABLE), 15);
  EXPECT_TRUE(retriable(ErrorCode::NOT_LEADER_OR_FOLLOWER));
  EXPECT_FALSE(retriable(ErrorCode::INVALID_TOPIC_EXCEPTION));
  EXPECT_EQ(name(static_cast<ErrorCode>(12345)), "UNKNOWN_SERVER_ERROR");
}

TEST(Uuid, text_is_kafkas_base64) {
  Uuid id;
  for (std::size_t i = 0; i < 16; ++i) id.bytes[i] = static_cast<std::uint8_t>(i * 16 + i);
  EXPECT_EQ(id.text(), "ABEiM0RVZneImaq7zN3u_w");
  EXPECT_EQ(Uuid::parse(id.text()), id);
  EXPECT_EQ(Uuid{}.text(), "AAAAAAAAAAAAAAAAAAAAAA");
  EXPECT_FALSE(Uuid::parse("short"));
  EXPECT_FALSE(Uuid::parse("ABEiM0RVZneImaq7zN3u_!"));
  EXPECT_FALSE(Uuid::parse("ABEiM0RVZneImaq7zN3u_x")) << "the last character carries two bits only";
}

TEST(Offset, distances_and_positions_do_not_mix) {
  EXPECT_EQ(Offset{7} - Offset{3}, 4);
  EXPECT_EQ(Offset{7} + 3, Offset{10});
  EXPECT_LT(Offset{1}, Offset{2});
}

// A log file of the test's own; logs to the error stream again when it goes.
struct LogFile {
  LogFile() { logging::init({.level = logging::Level::info, .format = logging::Format::text, .file = path}); }
  ~LogFile() {
    logging::init({});
    std::filesystem::remove(path);
  }
  std::string text() const {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t count(const std::string& what) const {
    const auto all = text();
    std::size_t n = 0;
    for (auto at = all.find(what); at != std::string::npos; at = all.find(what, at + 1)) ++n;
    return n;
  }
  std::string path = testing::TempDir() + "weir-base-test-" + std::to_string(::getpid()) + ".log";
};

TEST(Limiter, one_cause_does_not_hide_another) {
  const LogFile log;
  for (int i = 0; i < 300; ++i) {
    const std::string cause = i % 2 == 0 ? "length" : "protocol";
    WEIR_LOG_LIMITED_BY(warn, std::chrono::hours(1), cause, "refused for its {}", cause);
  }
  EXPECT_EQ(log.count("refused for its length"), 1U);
  EXPECT_EQ(log.count("refused for its protocol"), 1U);
}

TEST(Log, a_line_holds_no_control_characters) {
  const LogFile log;
  WEIR_LOG(warn, "it says {}", "one\r\ntwo\x1b[31m\x7f");
  EXPECT_NE(log.text().find("it says one\\x0d\\ntwo\\x1b[31m\\x7f\n"), std::string::npos) << log.text();
}

TEST(Log, a_line_of_json_is_text_whatever_is_said) {
  const LogFile log;
  logging::init({.level = logging::Level::info, .format = logging::Format::json, .file = log.path});
  WEIR_LOG(warn, "it says {}", "\xff\xfe \"\\ \x1b");
  EXPECT_NE(log.text().find(R"("message":"it says \\xff\\xfe \"\\ \\x1b"})"), std::string::npos) << log.text();
}

TEST(Limiter, causes_are_bounded) {
  const LogFile log;
  for (int i = 0; i < 10'000; ++i) {
    WEIR_LOG_LIMITED_BY(warn, std::chrono::hours(1), std::to_string(i), "cause {} of many", i);
  }
  EXPECT_GT(log.count("of many"), 20U);
  EXPECT_LT(log.count("of many"), 500U);
}

TEST(Limiter, what_was_left_out_is_told_when_the_interval_ends) {
  const LogFile log;
  // Nothing like it comes again: that is not waited for.
  for (int i = 0; i < 5; ++i) WEIR_LOG_LIMITED(warn, std::chrono::milliseconds(300), "number {}", i);
  for (int i = 0; i < 30'000 && log.text().find("more like it") == std::string::npos; ++i) {
    ::poll(nullptr, 0, 1);
  }
  const auto text = log.text();
  EXPECT_NE(text.find("more like it left out in 0.3 s: number "), std::string::npos) << text;
}

}  // namespace
}  // namespace weir
