#include "aws/credentials.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "runtime/sim.h"

namespace weir::aws {
namespace {

class CredentialsTest : public testing::Test {
 protected:
  CredentialsTest() { EXPECT_TRUE(files_.make_directories("/d")); }
  std::unique_ptr<FileCredentials> open() { return FileCredentials::open("/d/credentials.json", files_).value(); }
  AccessKey key(std::string user = "me") {
    return generate_key(*random_, milliseconds(1'700'000'000'000), std::move(user));
  }

  runtime::SimFiles files_;
  std::unique_ptr<runtime::Random> random_ = runtime::seeded_random(3);
};

TEST_F(CredentialsTest, generated_keys_look_like_those_of_aws) {
  const auto one = key();
  EXPECT_THAT(one.id, testing::MatchesRegex("AKIA[A-Z2-7]+"));
  EXPECT_EQ(one.id.size(), 20U);
  EXPECT_EQ(one.secret.size(), 40U);
  EXPECT_THAT(one.secret, testing::MatchesRegex("[A-Za-z0-9+/]+"));
  const auto two = key();
  EXPECT_NE(one.id, two.id);
  EXPECT_NE(one.secret, two.secret);
}

TEST_F(CredentialsTest, keys_stay) {
  const auto first = key("first");
  const auto second = key("");
  {
    auto store = open();
    EXPECT_TRUE(store->list().empty());
    ASSERT_TRUE(store->add(first));
    ASSERT_TRUE(store->add(second));
    EXPECT_EQ(store->add(first).error().code, ErrorCode::DUPLICATE_RESOURCE);
  }
  auto store = open();
  EXPECT_EQ(store->secret_of(first.id), first.secret);
  EXPECT_EQ(store->secret_of("AKIANOBODY"), std::nullopt);
  ASSERT_EQ(store->list().size(), 2U);
  EXPECT_EQ(store->list()[0].user, "first");
  EXPECT_EQ(store->list()[0].created, milliseconds(1'700'000'000'000));
  EXPECT_EQ(store->list()[1].id, second.id);

  ASSERT_TRUE(store->set_status(first.id, KeyStatus::inactive));
  EXPECT_EQ(store->secret_of(first.id), std::nullopt) << "an inactive key signs nothing";
  ASSERT_TRUE(store->set_status(first.id, KeyStatus::active));
  EXPECT_EQ(store->secret_of(first.id), first.secret);
  ASSERT_TRUE(store->revoke(first.id));
  EXPECT_EQ(store->secret_of(first.id), std::nullopt);
  EXPECT_EQ(store->revoke(first.id).error().code, ErrorCode::RESOURCE_NOT_FOUND);
  EXPECT_EQ(store->set_status(first.id, KeyStatus::active).error().code, ErrorCode::RESOURCE_NOT_FOUND);
  EXPECT_EQ(open()->list().size(), 1U);
}

TEST_F(CredentialsTest, what_another_process_changed_is_seen_after_a_refresh) {
  auto ours = open();
  auto theirs = open();
  const auto added = key();
  ASSERT_TRUE(theirs->add(added));
  EXPECT_EQ(ours->secret_of(added.id), std::nullopt);
  ASSERT_TRUE(ours->refresh());
  EXPECT_EQ(ours->secret_of(added.id), added.secret);
  // A change is made on what the file holds, not on what was known.
  const auto another = key();
  ASSERT_TRUE(theirs->add(another));
  ASSERT_TRUE(ours->revoke(added.id));
  EXPECT_EQ(ours->secret_of(another.id), another.secret);
}

TEST_F(CredentialsTest, a_file_that_is_not_ours_is_refused_and_left_alone) {
  for (const auto* text :
       {"", "{", "[]", "{}", R"({"version":2,"accessKeys":[]})", R"({"version":1,"accessKeys":{}})",
        R"({"version":1,"accessKeys":[{"accessKeyId":"a"}]})",
        R"({"version":1,"accessKeys":[{"accessKeyId":"a","secretAccessKey":"b","status":"Odd"}]})"}) {
    ASSERT_TRUE(files_.write_whole("/d/credentials.json", text));
    const auto got = FileCredentials::open("/d/credentials.json", files_);
    ASSERT_FALSE(got) << text;
    EXPECT_EQ(got.error().code, ErrorCode::INVALID_CONFIG);
    EXPECT_THAT(got.error().message, testing::HasSubstr("/d/credentials.json"));
  }
  ASSERT_TRUE(files_.remove("/d/credentials.json"));
  auto store = open();
  const auto kept = key();
  ASSERT_TRUE(store->add(kept));
  ASSERT_TRUE(files_.write_whole("/d/credentials.json", "{"));
  EXPECT_FALSE(store->refresh());
  EXPECT_EQ(store->secret_of(kept.id), kept.secret) << "what was known stays";
  EXPECT_FALSE(store->add(key())) << "and nothing is written over what cannot be read";
  EXPECT_EQ(files_.read_whole("/d/credentials.json").value(), "{");
}

TEST_F(CredentialsTest, bounds) {
  auto store = open();
  auto bad = key();
  bad.secret.clear();
  EXPECT_EQ(store->add(bad).error().code, ErrorCode::INVALID_REQUEST);
  bad = key(std::string(257, 'u'));
  EXPECT_EQ(store->add(bad).error().code, ErrorCode::INVALID_REQUEST);
}

TEST(FileCredentials, only_the_owner_reads_the_file) {
  char folder[] = "/tmp/weir-credentials-XXXXXX";
  ASSERT_NE(::mkdtemp(folder), nullptr);
  const auto path = std::string(folder) + "/credentials.json";
  auto& files = runtime::system_files();
  // A file that was left readable becomes private with the first change.
  ASSERT_TRUE(files.write_whole(path, R"({"version":1,"accessKeys":[]})"));
  ASSERT_TRUE(files.write_whole(path + ".tmp", "left by a crash"));
  auto store = FileCredentials::open(path, files);
  ASSERT_TRUE(store);
  ASSERT_TRUE((*store)->add(generate_key(runtime::system_random(), milliseconds(1), "me")));
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_TRUE(files.remove_all(folder));
}

}  // namespace
}  // namespace weir::aws
