#include <fmt/format.h>

#include <cstdio>

#include "apps/migrate_check.h"
#include "apps/migrate_read.h"
#include "apps/run.h"
#include "base/log.h"
#include "cli/findings.h"

namespace weir::apps {

int run_migrate_check(const cli::MigrateCheckOptions& options) {
  logging::init({logging::Level::error, logging::Format::text, {}});  // what it finds is the only output
  const auto title = fmt::format("Weir in the place of broker {}, cluster at {}", options.broker_id, options.zookeeper);
  std::vector<cli::Finding> findings;
  if (auto evidence = read_evidence(options)) {
    findings = judge(*evidence);
  } else {
    findings.push_back({cli::Level::blocks, "zookeeper", evidence.error(), "check --zookeeper"});
  }
  const auto text = options.json ? cli::findings_json(title, findings) : cli::findings_text(title, findings);
  std::fputs(text.c_str(), stdout);
  return cli::exit_code(cli::verdict(findings));
}

}  // namespace weir::apps
