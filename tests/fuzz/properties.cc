// server.properties: the file's text, and what a broker makes of its keys and values.
#include "config/properties.h"
#include "config/broker_config.h"
#include "fuzz/fuzz.h"

namespace weir::fuzz {

void run(bytes::Bytes input) {
  const auto how = choice(input);
  const auto text = own(input);
  const auto parsed = config::parse_properties(text);
  if (!parsed) {
    WEIR_CHECK(!parsed.error().empty(), "an error is a sentence");
    return;
  }
  const auto again = config::parse_properties(config::to_text(*parsed));
  WEIR_CHECK(again && *again == *parsed, "what was written is read again");
  config::BrokerLayers layers;
  layers.file = {{"broker.id", "1"}, {"zookeeper.connect", "127.0.0.1:2181"}, {"log.dirs", "/d"}};
  // A third of the inputs each: as the file, and as either dynamic layer.
  if (how % 3 == 0) {
    for (const auto& [key, value] : *parsed) layers.file[key] = value;
  } else {
    (how % 3 == 1 ? layers.dynamic_broker : layers.dynamic_default) = *parsed;
  }
  const auto loaded = config::load_broker_config(layers);
  WEIR_CHECK(how % 3 == 0 || loaded, "a dynamic value stops no broker");
  if (loaded) WEIR_CHECK(!loaded->config.listeners.empty(), "a broker has a listener");
}

std::vector<std::string> seeds() {
  std::vector<std::string> out;
  const std::string lines[] = {
      "# a comment\nbroker.id=1\nlisteners=PLAINTEXT://:9092,SSL://[::1]:9093\nlog.dirs=/a,/b\n",
      "advertised.listeners=INTERNAL://h:1,EXTERNAL://g:2\nlisteners=INTERNAL://:1,EXTERNAL://:2\n"
      "listener.security.protocol.map=INTERNAL:PLAINTEXT,EXTERNAL:SASL_SSL\ninter.broker.listener.name=INTERNAL\n",
      "log.retention.hours : 168\nlog.retention.ms=-1\nlog.segment.bytes 1073741824\nmessage.max.bytes=1e6\n",
      "max.connections.per.ip.overrides=10.0.0.1:5,h:0\nlistener.name.internal.max.connections=5\n",
      "inter.broker.protocol.version=3.9-IV0\ncompression.type=zstd\nunclean.leader.election.enable=true\n",
      "a\\ b\\=c=\\u00e9\\t\\\n   d\n! another\nempty\nempty2=\n\\:=:\n",
      "zookeeper.connect=h:2181,g:2181/chroot\nweir.metrics.listener=127.0.0.1:11001\nbroker.rack=\\u4e2d\n",
  };
  for (std::uint8_t how = 0; how < 3; ++how) {
    for (const auto& text : lines) out.push_back(seed(how, text));
  }
  return out;
}

}  // namespace weir::fuzz
