#include "aws/router.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::aws {
namespace {

using testing::ElementsAre;
using testing::Pair;

Router router() {
  return Router({{"GET", "/v1/clusters", "ListClusters"},
                 {"POST", "/v1/clusters", "CreateCluster"},
                 {"GET", "/v1/clusters/{clusterArn}", "DescribeCluster"},
                 {"DELETE", "/v1/clusters/{clusterArn}", "DeleteCluster"},
                 {"PUT", "/v1/clusters/{clusterArn}/nodes/count", "UpdateBrokerCount"},
                 {"GET", "/v1/clusters/{clusterArn}/topics/{topicName}", "DescribeTopic"},
                 {"GET", "/v1/{thing}/special", "Special"},
                 {"GET", "/v1/configurations/{arn}/revisions/{revision}", "DescribeConfigurationRevision"}});
}

std::string operation(std::string_view method, std::string_view target) {
  const auto got = router().match(method, target);
  return got ? got->operation : std::to_string(got.error().status) + " " + got.error().type;
}

TEST(Router, operations) {
  EXPECT_EQ(operation("GET", "/v1/clusters"), "ListClusters");
  EXPECT_EQ(operation("POST", "/v1/clusters?x=1"), "CreateCluster");
  EXPECT_EQ(operation("DELETE", "/v1/clusters/a"), "DeleteCluster");
  EXPECT_EQ(operation("PUT", "/v1/clusters/a/nodes/count"), "UpdateBrokerCount");
  EXPECT_EQ(operation("GET", "/v1/clusters/special"), "DescribeCluster") << "the first literal decides";
  EXPECT_EQ(operation("GET", "/v1/other/special"), "Special");
}

TEST(Router, an_arn_is_one_segment) {
  const std::string arn = "arn:aws:kafka:us-east-1:000000000000:cluster/name/0f-1";
  const auto encoded =
      router().match("GET", "/v1/clusters/arn%3Aaws%3Akafka%3Aus-east-1%3A000000000000%3Acluster%2Fname%2f0f-1");
  ASSERT_TRUE(encoded);
  EXPECT_EQ(encoded->operation, "DescribeCluster");
  EXPECT_THAT(encoded->labels, ElementsAre(Pair("clusterArn", arn)));
  const auto colons = router().match("GET", "/v1/clusters/arn:aws:kafka:us-east-1:000000000000:cluster%2Fname%2F0f-1");
  ASSERT_TRUE(colons);
  EXPECT_THAT(colons->labels, ElementsAre(Pair("clusterArn", arn)));
  EXPECT_EQ(operation("GET", "/v1/clusters/" + arn), "404 UnknownOperationException");
  const auto two = router().match("GET", "/v1/configurations/a%2Fb/revisions/7");
  ASSERT_TRUE(two);
  EXPECT_THAT(two->labels, ElementsAre(Pair("arn", "a/b"), Pair("revision", "7")));
}

TEST(Router, what_nobody_answers) {
  for (const auto* target : {"", "/", "*", "v1/clusters", "/v1", "/v1/clusters/", "/v1/clusters//nodes/count",
                             "/v2/clusters", "/V1/clusters", "/v1/clusters/../x", "/v1/clusters/..", "/v1/clusters/.",
                             "//v1/clusters", "/v1%2Fclusters", "http://h/v1/clusters"}) {
    EXPECT_EQ(operation("GET", target), "404 UnknownOperationException") << target;
  }
  EXPECT_EQ(operation("PATCH", "/v1/clusters"), "405 UnknownOperationException");
  EXPECT_EQ(operation("get", "/v1/clusters"), "405 UnknownOperationException");
  EXPECT_EQ(operation("GET", "/v1/clusters/%zz"), "400 BadRequestException");
  EXPECT_EQ(operation("GET", "/v1/clusters?a=%"), "400 BadRequestException");
  EXPECT_LT(router().match("GET", "/" + std::string(20'000, 'a')).error().message.size(), 500U);
}

TEST(Router, queries) {
  const auto got = router().match("GET", "/v1/clusters?maxResults=5&tagKeys=b%20c&tagKeys=a&&flag&nextToken=x%2By+z==");
  ASSERT_TRUE(got);
  EXPECT_THAT(got->query, ElementsAre(Pair("flag", ""), Pair("maxResults", "5"), Pair("nextToken", "x+y+z=="),
                                      Pair("tagKeys", "b c"), Pair("tagKeys", "a")));
}

TEST(RouterDeathTest, two_routes_of_one_shape) {
  EXPECT_DEATH(Router({{"GET", "/a/{x}", "A"}, {"GET", "/a/{y}", "B"}}), "a path of its own");
}

}  // namespace
}  // namespace weir::aws
