// The access keys that may call. Their state is a file now, an interface for whoever keeps it elsewhere.
//
// The file is JSON with mode 0600, replaced as a whole:
//   {"version": 1, "accessKeys": [{"accessKeyId", "secretAccessKey", "status": "Active", "createDate", "userName"}]}
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/units.h"
#include "runtime/files.h"
#include "runtime/random.h"

namespace weir::aws {

enum class KeyStatus { active, inactive };

struct AccessKey {
  std::string id;      // "AKIA" and 16 of A-Z, 2-7
  std::string secret;  // 40 characters of base64's
  KeyStatus status = KeyStatus::active;
  milliseconds created{0};  // wall time
  std::string user;         // whose it is, for people; may be empty
};

// A new key out of `random`, which must be the system's in production.
AccessKey generate_key(runtime::Random& random, milliseconds now, std::string user);

// From any thread. Calls that change block; secret_of() does not.
class Credentials {
 public:
  virtual ~Credentials() = default;
  // The secret of an active key.
  virtual std::optional<std::string> secret_of(std::string_view access_key_id) const = 0;
  // In the order they were added.
  virtual std::vector<AccessKey> list() const = 0;
  // DUPLICATE_RESOURCE when there is one of that id, POLICY_VIOLATION above keys_max.
  virtual Result<> add(AccessKey key) = 0;
  virtual Result<> set_status(std::string_view access_key_id, KeyStatus status) = 0;  // RESOURCE_NOT_FOUND
  virtual Result<> revoke(std::string_view access_key_id) = 0;                        // RESOURCE_NOT_FOUND
  // Takes in what another process changed. Blocks. After an error what was known stays.
  virtual Result<> refresh() = 0;
};

inline constexpr std::size_t keys_max = 1000;

// Several processes may use one file: changes are made under a lock (`path`.lock) on what the file then holds.
class FileCredentials final : public Credentials {
 public:
  // A missing file is an empty store. INVALID_CONFIG for a file that is none of ours.
  static Result<std::unique_ptr<FileCredentials>> open(std::string path, runtime::Files& files);

  std::optional<std::string> secret_of(std::string_view access_key_id) const override;
  std::vector<AccessKey> list() const override;
  Result<> add(AccessKey key) override;
  Result<> set_status(std::string_view access_key_id, KeyStatus status) override;
  Result<> revoke(std::string_view access_key_id) override;
  Result<> refresh() override;

 private:
  using Keys = std::vector<AccessKey>;

  FileCredentials(std::string path, runtime::Files& files) : path_(std::move(path)), files_(files) {}
  Result<Keys> load() const;
  template <class Change>
  Result<> change(Change change);
  std::shared_ptr<const Keys> keys() const;

  const std::string path_;
  runtime::Files& files_;
  // Any thread may change the file: one at a time, the lock on the file is between processes.
  std::mutex changing_;
  // Any thread looks keys up while another changes them: the lock guards the pointer, what it points to is immutable.
  mutable std::mutex mutex_;
  std::shared_ptr<const Keys> keys_ = std::make_shared<const Keys>();
};

}  // namespace weir::aws
