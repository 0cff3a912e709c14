#include <fmt/format.h>

#include <cstdio>

#include "apps/migrate_check.h"
#include "apps/migrate_read.h"
#include "apps/run.h"
#include "base/log.h"
#include "cli/command_line.h"
#include "cli/findings.h"

namespace weir::apps {

int run_migrate_check(const cli::MigrateCheckOptions& options) {
  logging::init({logging::Level::warn, logging::Format::text, {}});  // why ZooKeeper does not let us in
  auto complete = completed(options);
  if (!complete) {
    fmt::print(stderr, "weir migrate check: {}\n", complete.error());
    return cli::exit_usage;
  }
  const auto title =
      fmt::format("Weir in the place of broker {}, cluster at {}", complete->broker_id, complete->zookeeper);
  std::vector<cli::Finding> findings;
  if (auto evidence = read_evidence(*complete)) {
    findings = judge(*evidence);
  } else {
    findings.push_back({cli::Level::blocks, "ZooKeeper", evidence.error(),
                        "check --zookeeper, and what it asks for: --zk-tls-config-file, --zk-jaas-config-file"});
  }
  const auto text = options.json ? cli::findings_json(title, findings) : cli::findings_text(title, findings);
  std::fputs(text.c_str(), stdout);
  return cli::exit_code(cli::verdict(findings));
}

}  // namespace weir::apps
