// REST-JSON routing: from method and path as sent to the operation and its labels. Pure.
//
// A template is segments: "/v1/clusters/{clusterArn}/nodes". A label takes one segment of the RAW path and is
// percent-decoded afterwards, so that an ARN whose slashes are %2F is one label. Colons may come encoded or not. An ARN
// with plain slashes has more segments and finds nothing, as at AWS. A literal segment goes before a label.
#pragma once

#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "aws/fault.h"

namespace weir::aws {

struct Route {
  std::string method;     // "GET"
  std::string uri;        // "/v1/clusters/{clusterArn}"
  std::string operation;  // "DescribeCluster"
};

using Labels = std::map<std::string, std::string, std::less<>>;
using Query = std::multimap<std::string, std::string, std::less<>>;

struct Match {
  std::string operation;
  Labels labels;
  Query query;  // decoded; repeated names in the order sent
};

class Router {
 public:
  // Checks (aborts) that no two routes answer the same.
  explicit Router(std::vector<Route> routes);

  // `target` as sent, with its query. 404 UnknownOperationException when no template fits, 405
  // UnknownOperationException when one does under another method, 400 BadRequestException for a bad %-sequence.
  std::expected<Match, Fault> match(std::string_view method, std::string_view target) const;

 private:
  struct Template {
    std::string method;
    std::string operation;
    std::vector<std::string> segments;  // a label is "{" and its name
  };
  std::vector<Template> templates_;  // those with literals first
};

// "a=1&b=%2F" as pairs; '+' is itself. Nothing for a bad %-sequence.
std::expected<Query, Fault> parse_query(std::string_view query);

}  // namespace weir::aws
