#include "apps/certificates.h"

#include <fmt/chrono.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/log.h"
#include "msk/kafka.h"

namespace weir::apps {

namespace {

using runtime::Task;

constexpr milliseconds look_min{250};
constexpr milliseconds look_max{3'600'000};

std::string day(std::int64_t at_s) {
  return fmt::format("{:%Y-%m-%d}", std::chrono::sys_seconds(std::chrono::seconds(at_s)));
}

}  // namespace

bool renewal_due(std::int64_t now_s, std::int64_t ends_s, std::int64_t validity_s, std::int64_t authority_ends_s) {
  const auto new_end = std::min(now_s + validity_s, authority_ends_s);
  return ends_s - now_s <= validity_s / 3 && new_end > ends_s;
}

std::string authority_warning(const std::string& certificate_pem, std::int64_t now_s, std::int64_t validity_s) {
  const auto info = security::describe_certificate(certificate_pem);
  if (!info) return info.error().message;
  if (info->not_after_s - now_s >= validity_s) return {};
  return fmt::format(
      "the certificate authority {} on {}, and no certificate of it is valid for longer: before that, stop the control "
      "plane, move its folder ca aside, start it again, and give clients the new authority (weir ca export)",
      now_s >= info->not_after_s ? "ended" : "ends", day(info->not_after_s));
}

Certificates::Certificates(runtime::Shard& shard, const security::CertificateAuthority& authority,
                           provision::Place& place, std::int64_t validity_s)
    : shard_(shard), authority_(authority), place_(place), validity_s_(validity_s), scope_(shard) {
  if (const auto own = security::describe_certificate(authority.certificate_pem())) {
    authority_ends_s_ = own->not_after_s;
  }
}

std::expected<msk::Certificate, std::string> Certificates::issue(std::string common_name,
                                                                 std::vector<std::string> names,
                                                                 std::vector<std::string> addresses) const {
  security::ServerNames all;
  all.names = std::move(names);
  std::erase(all.names, common_name);
  all.names.insert(all.names.begin(), std::move(common_name));
  all.addresses = std::move(addresses);
  security::Validity validity;
  validity.now_s = std::chrono::duration_cast<seconds>(shard_.clock().wall()).count();
  validity.seconds = validity_s_;
  auto issued = authority_.issue_server(all, validity);
  if (!issued) return std::unexpected(issued.error().message);
  return msk::Certificate{issued->chain_pem + issued->key_pem, authority_.certificate_pem()};
}

void Certificates::start() { scope_.spawn(run()); }

Task<void> Certificates::stop() {
  stopping_ = true;
  if (waiting_ != nullptr) waiting_->wake();
  co_await scope_.stop();
}

Task<void> Certificates::run() {
  constexpr std::int64_t looks = 60;  // in the time of a certificate
  const auto interval = std::clamp<milliseconds>(milliseconds(validity_s_ * 1000 / looks), look_min, look_max);
  while (!stopping_) {
    look_at_authority();
    for (auto& key : place_.brokers()) {
      if (!stopping_) co_await look(key);
    }
    if (stopping_) co_return;
    runtime::Waiter waiter(shard_);
    waiting_ = &waiter;
    co_await waiter.wait(interval);
    waiting_ = nullptr;
  }
}

void Certificates::look_at_authority() {
  constexpr seconds a_day{86'400};
  const auto now_s = std::chrono::duration_cast<seconds>(shard_.clock().wall()).count();
  if (auto warning = authority_warning(authority_.certificate_pem(), now_s, validity_s_); !warning.empty()) {
    WEIR_LOG_LIMITED(warn, a_day, "{}", warning);
  }
}

Task<void> Certificates::look(provision::BrokerKey key) {
  auto spec = place_.spec(key);
  if (!spec) co_return;
  const auto file = spec->files.find(std::string(msk::certificate_file));
  if (file == spec->files.end()) co_return;
  const auto now = security::describe_certificate(file->second);
  if (!now) {
    WEIR_LOG_LIMITED(error, seconds(3600), "the certificate of broker {}: {}", key.text(), now.error().message);
    co_return;
  }
  const auto now_s = std::chrono::duration_cast<seconds>(shard_.clock().wall()).count();
  const auto believed = spec->files.find(std::string(msk::authority_file));
  const bool of_another = believed != spec->files.end() && believed->second != authority_.certificate_pem();
  if (!of_another && !renewal_due(now_s, now->not_after_s, validity_s_, authority_ends_s_)) co_return;
  auto names = now->names.names;
  if (names.empty()) co_return;
  constexpr std::string_view common = "CN=";
  auto common_name = now->subject.starts_with(common) ? now->subject.substr(common.size()) : names.front();
  auto issued = issue(std::move(common_name), std::move(names), now->names.addresses);
  if (!issued) {
    WEIR_LOG_LIMITED(error, seconds(60), "no new certificate for broker {}: {}", key.text(), issued.error());
    co_return;
  }
  file->second = issued->chain_and_key;
  spec->files.insert_or_assign(std::string(msk::authority_file), issued->authority);
  auto put = co_await place_.put(std::move(*spec));
  if (put) {
    WEIR_LOG(info, "broker {} has a new certificate; the one before ends on {}", key.text(), day(now->not_after_s));
  } else if (put.error().kind != provision::Failure::Kind::busy) {
    WEIR_LOG_LIMITED(error, seconds(60), "no new certificate for broker {}: {}", key.text(), put.error().text);
  }
}

}  // namespace weir::apps
