#include "cli/credentials_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/command_line.h"

namespace weir::cli {
namespace {

using Action = CredentialsOptions::Action;

TEST(CredentialsLine, each_command) {
  const auto parsed = [](std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "credentials");
    auto command = parse_command_line(arguments);
    EXPECT_TRUE(command) << arguments.back();
    return command ? std::get<CredentialsOptions>(*command) : CredentialsOptions();
  };
  EXPECT_EQ(parsed({"list", "--json", "--data", "d"}).action, Action::list);
  EXPECT_EQ(parsed({"list", "--data", "d"}).data_dir, "d");
  EXPECT_EQ(parsed({"add", "--user", "alice"}).user, "alice");
  EXPECT_EQ(parsed({"deactivate", "AKIA1"}).action, Action::deactivate);
  EXPECT_EQ(parsed({"activate", "AKIA1"}).action, Action::activate);
  EXPECT_EQ(parsed({"revoke", "AKIA1"}).action, Action::revoke);
  EXPECT_EQ(parsed({"revoke", "AKIA1"}).id, "AKIA1");
}

TEST(CredentialsLine, what_is_missing_is_said) {
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"credentials"}, {"credentials", "revoke"}, {"credentials", "show"}, {"credentials", "add", "AKIA1"}}) {
    const auto command = parse_command_line(arguments);
    ASSERT_FALSE(command);
    EXPECT_EQ(command.error().exit_code, exit_usage);
    EXPECT_THAT(command.error().text, testing::HasSubstr("--help"));
  }
  EXPECT_THAT(parse_command_line({"credentials", "--help"}).error().text, testing::HasSubstr("Examples:"));
}

}  // namespace
}  // namespace weir::cli
