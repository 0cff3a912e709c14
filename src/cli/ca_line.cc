#include "cli/ca_line.h"

#include <CLI/CLI.hpp>
#include <memory>

namespace weir::cli {
namespace {

using Action = CaOptions::Action;

std::shared_ptr<CaOptions> begin(CLI::App& app, Action action) {
  auto v = std::make_shared<CaOptions>();
  v->action = action;
  app.add_option("--data", v->data_dir, "Folder of weir up or weir control; the authority is in its folder ca")
      ->type_name("DIR")
      ->default_str("~/.weir");
  return v;
}

void add_days(CLI::App& app, CaOptions& options) {
  app.add_option("--days", options.days, "How long it is valid")
      ->type_name("N")
      ->default_str("397")
      ->check(CLI::Range(1, 3650));
}

Binder add_export(CLI::App& ca) {
  CLI::App* app = ca.add_subcommand("export", "Write the authority's certificate for clients to trust");
  auto v = begin(*app, Action::export_trust);
  app->add_option("--format", v->format, "pem, or a trust store that Java 8 and later read: pkcs12 or jks")
      ->type_name("FORMAT")
      ->default_str("pem")
      ->check(CLI::IsMember({"pem", "pkcs12", "jks"}));
  app->add_option("--password", v->password, "Of a trust store; at least six characters")->default_str("changeit");
  app->add_option("--out", v->out, "The file to write; without it PEM goes to standard output")->type_name("FILE");
  app->footer(
      "Examples:\n"
      "  weir ca export --out ca.pem                                 for librdkafka: ssl.ca.location\n"
      "  weir ca export --format pkcs12 --out truststore.p12         for Java\n"
      "  weir ca export --format jks --password secret --out truststore.jks");
  return {app, [v]() -> Command { return *v; }};
}

Binder add_sign(CLI::App& ca) {
  CLI::App* app = ca.add_subcommand("sign", "Sign a client's certificate request: mutual TLS");
  auto v = begin(*app, Action::sign);
  app->add_option("CSR", v->request, "A file with the request in PEM; - is standard input")->required();
  add_days(*app, *v);
  app->add_option("--out", v->out, "The file to write; without it to standard output")->type_name("FILE");
  app->footer(
      "Examples:\n"
      "  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout alice.key \\\n"
      "      -subj /O=Example/CN=alice -out alice.csr\n"
      "  weir ca sign alice.csr --out alice.pem\n"
      "\nWhat is written is the certificate and, behind it, the authority's. Brokers know the client by the request's\n"
      "subject (ssl.principal.mapping.rules), here as User:CN=alice,O=Example.");
  return {app, [v]() -> Command { return *v; }};
}

Binder add_issue(CLI::App& ca) {
  CLI::App* app = ca.add_subcommand("issue", "Make a key and its certificate, for a broker or for a client");
  auto v = begin(*app, Action::issue);
  auto* name = app->add_option("--name", v->names, "A broker's DNS name or address; may be given again");
  app->add_option("--subject", v->subject, "A client's subject: CN=alice,O=Example")->excludes(name);
  add_days(*app, *v);
  app->add_option("--out", v->out, "The file to write (mode 0600): the key, the certificate, the authority's")
      ->type_name("FILE")
      ->required();
  app->footer(
      "Examples:\n"
      "  weir ca issue --name b-1.example --name 10.0.0.7 --out b-1.pem     ssl.keystore.type=PEM, "
      "ssl.keystore.location\n"
      "  weir ca issue --subject CN=alice,O=Example --out alice.pem");
  return {app, [v]() -> Command { return *v; }};
}

}  // namespace

std::vector<Binder> add_ca(CLI::App& root) {
  CLI::App* ca = root.add_subcommand("ca", "The private certificate authority: what clients trust, and who they are");
  ca->require_subcommand(1);
  ca->footer(
      "Examples:\n"
      "  weir ca export --format jks --out truststore.jks        what clients trust\n"
      "  weir ca sign alice.csr --out alice.pem                  a certificate for a client\n"
      "  weir ca issue --name b-1.example --out b-1.pem          one for a broker of its own configuration");
  return {add_export(*ca), add_sign(*ca), add_issue(*ca)};
}

}  // namespace weir::cli
