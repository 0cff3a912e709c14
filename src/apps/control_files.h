// What a control plane keeps in its folder (--data DIR), beside what `weir up` keeps there:
//
//   credentials.json  ca/  clusters/  run/control.json  control/weir.session  control/holder.json
#pragma once

#include <expected>
#include <memory>
#include <string>

#include "apps/data_dir.h"
#include "aws/credentials.h"

namespace weir::apps {

struct ControlFiles {
  explicit ControlFiles(const DataDir& dir) : path(dir.path()) {}
  std::string credentials() const { return path + "/credentials.json"; }
  std::string authority() const { return path + "/ca"; }
  std::string clusters() const { return path + "/clusters"; }
  std::string state() const { return path + "/run/control.json"; }
  std::string session() const { return path + "/control"; }          // a folder, as end_left_session wants it
  std::string holder() const { return session() + "/holder.json"; }  // who has clusters() open
  std::string path;
};

// Where an API is to be reached, as the control plane wrote it when it began to listen.
struct ApiPlace {
  std::string endpoint;  // "http://127.0.0.1:4566"
  std::string local;     // the same for processes of this machine, which may not know the other's name
  std::string region;
  std::string authority;  // PEM file of who signed its certificate; empty: no TLS
  cli::ProcessId process;
  std::string boot_id;

  bool runs() const;
};
std::expected<void, std::string> write_api_place(const ControlFiles& files, const ApiPlace& place);
// The error is a sentence.
std::expected<ApiPlace, std::string> read_api_place(const ControlFiles& files);

// Lines for a shell's eval: what the aws command line and every SDK need. Empty: no control plane runs here.
std::string api_env_text(const ControlFiles& files);

// An active key of the folder; the first that was made.
std::expected<aws::AccessKey, std::string> read_access_key(const ControlFiles& files);

}  // namespace weir::apps
