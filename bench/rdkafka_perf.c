// A client for benchmarks over librdkafka, in C so that the client costs as little as it can. One JSON line on stdout.
//
//   rdkafka_perf produce BROKERS TOPIC RECORDS SIZE [KEY=VALUE ...]   KEY is librdkafka's configuration
//   rdkafka_perf consume BROKERS TOPIC RECORDS PARTITIONS [KEY=VALUE ...]
//   rdkafka_perf latency BROKERS TOPIC RECORDS SIZE [KEY=VALUE ...]   one record after the other, from produce to
//   consume
#include <librdkafka/rdkafka.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static long delivered = 0;

static void die(const char* what, const char* why) {
  fprintf(stderr, "rdkafka_perf: %s: %s\n", what, why);
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void on_delivery(rd_kafka_t* rk, const rd_kafka_message_t* message, void* opaque) {
  (void)rk;
  (void)opaque;
  if (message->err) die("a record was not delivered", rd_kafka_err2str(message->err));
  delivered++;
}

static void set(rd_kafka_conf_t* conf, const char* key, const char* value) {
  char error[512];
  if (rd_kafka_conf_set(conf, key, value, error, sizeof error) != RD_KAFKA_CONF_OK) die(key, error);
}

static rd_kafka_conf_t* configure(const char* brokers, int count, char** pairs) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  set(conf, "bootstrap.servers", brokers);
  for (int i = 0; i < count; i++) {
    char* equals = strchr(pairs[i], '=');
    if (!equals) die(pairs[i], "is not KEY=VALUE");
    *equals = 0;
    set(conf, pairs[i], equals + 1);
  }
  return conf;
}

static rd_kafka_t* open_client(rd_kafka_type_t type, rd_kafka_conf_t* conf) {
  char error[512];
  rd_kafka_t* rk = rd_kafka_new(type, conf, error, sizeof error);
  if (!rk) die("no client", error);
  return rk;
}

// Letters that compress about as records do: four bits of chance a byte.
static char* noise(size_t size) {
  char* data = malloc(size);
  uint64_t x = 88172645463325252ull;
  for (size_t i = 0; i < size; i++) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    data[i] = (char)('a' + (x >> 60));
  }
  return data;
}

static void produce_one(rd_kafka_topic_t* topic, rd_kafka_t* rk, int32_t partition, char* value, size_t size) {
  while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, value, size, NULL, 0, NULL) == -1) {
    if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) die("produce", rd_kafka_err2str(rd_kafka_last_error()));
    rd_kafka_poll(rk, 10);
  }
}

static void report(long records, double bytes, double seconds, double client_cpu) {
  printf("{\"records\": %ld, \"bytes\": %.0f, \"seconds\": %.6f, \"client_cpu\": %.3f}\n", records, bytes, seconds,
         client_cpu);
}

static void produce(const char* brokers, const char* name, long records, size_t size, int count, char** pairs) {
  rd_kafka_conf_t* conf = configure(brokers, count, pairs);
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  set(conf, "queue.buffering.max.messages", "1000000");
  set(conf, "queue.buffering.max.kbytes", "262144");
  rd_kafka_t* rk = open_client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(rk, name, NULL);
  const size_t variety = 1 << 20;
  char* data = noise(variety + size);
  double began = now(), cpu_before = cpu();
  for (long i = 0; i < records; i++) {
    produce_one(topic, rk, RD_KAFKA_PARTITION_UA, data + ((size_t)i * 997) % variety, size);
    if (i % 1000 == 0) rd_kafka_poll(rk, 0);
  }
  while (delivered < records) rd_kafka_poll(rk, 100);
  report(records, (double)records * (double)size, now() - began, cpu() - cpu_before);
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(rk);
}

static rd_kafka_t* open_consumer(const char* brokers, const char* topic, int partitions, int64_t offset, int count,
                                 char** pairs) {
  rd_kafka_conf_t* conf = configure(brokers, count, pairs);
  set(conf, "group.id", "rdkafka_perf");
  set(conf, "enable.auto.commit", "false");
  set(conf, "auto.offset.reset", "error");
  rd_kafka_t* rk = open_client(RD_KAFKA_CONSUMER, conf);
  rd_kafka_poll_set_consumer(rk);
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(partitions);
  for (int i = 0; i < partitions; i++) rd_kafka_topic_partition_list_add(list, topic, i)->offset = offset;
  rd_kafka_resp_err_t error = rd_kafka_assign(rk, list);
  if (error) die("assign", rd_kafka_err2str(error));
  rd_kafka_topic_partition_list_destroy(list);
  return rk;
}

static void consume(const char* brokers, const char* topic, long records, int partitions, int count, char** pairs) {
  rd_kafka_t* rk = open_consumer(brokers, topic, partitions, RD_KAFKA_OFFSET_BEGINNING, count, pairs);
  rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(rk);
  rd_kafka_message_t* messages[1000];
  long got = 0;
  double bytes = 0, began = now(), last = began, cpu_before = cpu();
  while (got < records) {
    ssize_t n = rd_kafka_consume_batch_queue(queue, 1000, messages, 1000);
    for (ssize_t i = 0; i < n; i++) {
      if (messages[i]->err) die("consume", rd_kafka_message_errstr(messages[i]));
      got++;
      bytes += (double)messages[i]->len;
      rd_kafka_message_destroy(messages[i]);
    }
    if (n > 0) last = now();
    if (now() - last > 30) die("consume", "nothing came for 30 s");
  }
  report(got, bytes, now() - began, cpu() - cpu_before);
  rd_kafka_queue_destroy(queue);
  rd_kafka_consumer_close(rk);
  rd_kafka_destroy(rk);
}

static int by_value(const void* a, const void* b) {
  double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void latency(const char* brokers, const char* name, long records, size_t size, int count, char** pairs) {
  char* copies[32];
  if (count > 32) die("latency", "too many KEY=VALUE");
  for (int i = 0; i < count; i++) copies[i] = strdup(pairs[i]);
  rd_kafka_conf_t* conf = configure(brokers, count, copies);
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  set(conf, "linger.ms", "0");
  rd_kafka_t* producer = open_client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(producer, name, NULL);
  char* data = noise(size);
  const long warm_up = 1000;
  double* times = malloc(sizeof(double) * (size_t)records);
  char* consumer_pairs[] = {strdup("fetch.wait.max.ms=500"), strdup("fetch.error.backoff.ms=0")};
  rd_kafka_t* consumer = open_consumer(brokers, name, 1, RD_KAFKA_OFFSET_BEGINNING, 2, consumer_pairs);
  for (long i = -warm_up; i < records; i++) {
    double began = now();
    produce_one(topic, producer, 0, data, size);
    rd_kafka_poll(producer, 0);
    rd_kafka_message_t* message = NULL;
    while (!message) {
      message = rd_kafka_consumer_poll(consumer, 10000);
      if (!message) die("latency", "nothing came for 10 s");
      if (message->err) die("latency", rd_kafka_message_errstr(message));
    }
    if (i >= 0) times[i] = now() - began;
    rd_kafka_message_destroy(message);
  }
  qsort(times, (size_t)records, sizeof(double), by_value);
  printf(
      "{\"records\": %ld, \"p50_ms\": %.3f, \"p95_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, \"max_ms\": %.3f}\n",
      records, times[records / 2] * 1e3, times[records * 95 / 100] * 1e3, times[records * 99 / 100] * 1e3,
      times[records * 999 / 1000] * 1e3, times[records - 1] * 1e3);
  rd_kafka_flush(producer, 10000);
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(producer);
  rd_kafka_consumer_close(consumer);
  rd_kafka_destroy(consumer);
}

int main(int argc, char** argv) {
  if (argc < 6) {
    fprintf(stderr,
            "usage: rdkafka_perf produce|consume|latency BROKERS TOPIC RECORDS SIZE|PARTITIONS [KEY=VALUE ...]\n");
    return 2;
  }
  long records = atol(argv[4]), number = atol(argv[5]);
  if (records < 1 || number < 1) die("arguments", "numbers are at least 1");
  if (!strcmp(argv[1], "produce")) {
    produce(argv[2], argv[3], records, (size_t)number, argc - 6, argv + 6);
  } else if (!strcmp(argv[1], "consume")) {
    consume(argv[2], argv[3], records, (int)number, argc - 6, argv + 6);
  } else if (!strcmp(argv[1], "latency")) {
    latency(argv[2], argv[3], records, (size_t)number, argc - 6, argv + 6);
  } else {
    die(argv[1], "is not produce, consume or latency");
  }
  return 0;
}
