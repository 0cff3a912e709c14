#include "cli/credentials_line.h"

#include <CLI/CLI.hpp>
#include <memory>

namespace weir::cli {

std::vector<Binder> add_credentials(CLI::App& root) {
  using Action = CredentialsOptions::Action;
  struct Row {
    const char* name;
    Action action;
    const char* what;
  };
  static constexpr Row rows[] = {
      {"list", Action::list, "The access keys, without their secrets"},
      {"add", Action::add, "Make an access key and print it; its secret is shown this once"},
      {"activate", Action::activate, "Let a key that was deactivated call again"},
      {"deactivate", Action::deactivate, "Refuse what a key signs, until it is activated"},
      {"revoke", Action::revoke, "Take a key away for good"},
  };
  const char* examples =
      "Examples:\n"
      "  weir credentials list\n"
      "  weir credentials add --user alice        prints lines for alice's shell\n"
      "  weir credentials deactivate AKIAEXAMPLE\n"
      "  weir credentials revoke AKIAEXAMPLE\n"
      "\nA control plane that runs takes a change in within a second. The first key is made by weir up or weir "
      "control;\n"
      "weir env prints the first that is active. The last active key cannot be taken away.";
  CLI::App* credentials = root.add_subcommand("credentials", "The access keys that may call the API");
  credentials->require_subcommand(1);
  credentials->footer(examples);
  std::vector<Binder> binders;
  for (const auto& row : rows) {
    auto v = std::make_shared<CredentialsOptions>();
    v->action = row.action;
    CLI::App* app = credentials->add_subcommand(row.name, row.what);
    app->add_option("--data", v->data_dir, "Folder of the control plane, as of weir up")
        ->type_name("DIR")
        ->default_str("~/.weir");
    if (row.action == Action::add) {
      app->add_option("--user", v->user, "Whose it is, for people")->type_name("NAME");
    } else if (row.action != Action::list) {
      app->add_option("ID", v->id, "The access key's id")->required();
    }
    if (row.action == Action::add || row.action == Action::list) app->add_flag("--json", v->json, "As JSON");
    app->footer(examples);
    binders.push_back({app, [v]() -> Command { return *v; }});
  }
  return binders;
}

}  // namespace weir::cli
