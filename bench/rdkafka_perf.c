// A client for benchmarks over librdkafka, in C so that the client costs as little as it can. One JSON line on stdout.
//
//   rdkafka_perf produce BROKERS TOPIC RECORDS SIZE [KEY=VALUE ...]   KEY is librdkafka's configuration
//   rdkafka_perf consume BROKERS TOPIC RECORDS PARTITIONS [KEY=VALUE ...]
//   rdkafka_perf latency BROKERS TOPIC RECORDS SIZE [KEY=VALUE ...]   one record after the other, from produce to
//   consume
//   rdkafka_perf paced BROKERS TOPIC RATE SECONDS SIZE PARTITIONS [KEY=VALUE ...]   RATE records a second at even
//   times, from when each is due to when it is consumed, so that whoever stalls is charged for what waited meanwhile
//   rdkafka_perf many BROKERS TOPIC CLIENTS RECORDS SIZE PARTITIONS [KEY=VALUE ...]   CLIENTS producers and as many
//   consumers, each a client of its own; RECORDS is of all, and each is consumed once, by partitions in turn
//
// bench.keys=N among the pairs of produce gives each record one of N keys.
#define _GNU_SOURCE
#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static atomic_long delivered;
static long keys;

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
    if (!strcmp(pairs[i], "bench.keys")) {
      keys = atol(equals + 1);
    } else {
      set(conf, pairs[i], equals + 1);
    }
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
  char key[24];
  static _Thread_local uint64_t turn;
  const size_t key_size =
      keys ? (size_t)snprintf(key, sizeof key, "%llu", (unsigned long long)(turn++ * 2654435761u % (uint64_t)keys)) : 0;
  while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, value, size, keys ? key : NULL, key_size, NULL) ==
         -1) {
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

// --- records at even times

struct paced {
  const char *brokers, *name;
  double rate, seconds, began;
  long records;
  int partitions;
  double* times;
  rd_kafka_t* consumer;
};

// One by one: a batch comes only when it is full, or late.
static void* consume_paced(void* arg) {
  struct paced* p = arg;
  for (long got = 0; got < p->records;) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(p->consumer, 10000);
    if (!message) die("paced", "nothing came for 10 s");
    if (message->err) die("paced", rd_kafka_message_errstr(message));
    double due;
    memcpy(&due, message->payload, sizeof due);
    if (due > 0) p->times[got++] = now() - due;
    rd_kafka_message_destroy(message);
  }
  return NULL;
}

static void wait_until(double when, rd_kafka_t* rk) {
  for (double left = when - now(); left > 0; left = when - now()) {
    if (left < 50e-6) continue;  // a sleep is not that short
    rd_kafka_poll(rk, 0);
    const struct timespec t = {.tv_nsec = (long)((left > 1e-3 ? 1e-3 : left - 40e-6) * 1e9)};
    nanosleep(&t, NULL);
  }
}

static void paced(int argc, char** argv) {
  if (argc < 8) die("paced", "needs RATE SECONDS SIZE PARTITIONS");
  struct paced p = {.brokers = argv[2], .name = argv[3], .rate = atof(argv[4]), .seconds = atof(argv[5])};
  const size_t size = (size_t)atol(argv[6]);
  p.partitions = atoi(argv[7]);
  p.records = (long)(p.rate * p.seconds);
  if (p.records < 1 || size < sizeof(double) || p.partitions < 1) die("paced", "a number is out of range");
  p.times = malloc(sizeof(double) * (size_t)p.records);
  char* consumer_pairs[] = {strdup("fetch.wait.max.ms=500"), strdup("fetch.error.backoff.ms=0")};
  p.consumer = open_consumer(p.brokers, p.name, p.partitions, RD_KAFKA_OFFSET_END, 2, consumer_pairs);
  rd_kafka_conf_t* conf = configure(p.brokers, argc - 8, argv + 8);
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rd_kafka_t* producer = open_client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(producer, p.name, NULL);
  char* data = noise(size);
  // Until something of each partition has come the consumer may not yet stand at its end.
  const double none = 0;
  memcpy(data, &none, sizeof none);
  char* seen = calloc((size_t)p.partitions, 1);
  for (int left = p.partitions; left > 0;) {
    for (int i = 0; i < p.partitions; i++) {
      if (!seen[i]) produce_one(topic, producer, i, data, size);
    }
    rd_kafka_flush(producer, 10000);
    for (rd_kafka_message_t* m; left > 0 && (m = rd_kafka_consumer_poll(p.consumer, 200)) != NULL;) {
      if (!m->err && !seen[m->partition]) left--;
      if (!m->err) seen[m->partition] = 1;
      rd_kafka_message_destroy(m);
    }
  }
  pthread_t reader;
  if (pthread_create(&reader, NULL, consume_paced, &p)) die("paced", "no thread");
  p.began = now() + 0.01;
  for (long i = 0; i < p.records; i++) {
    const double due = p.began + (double)i / p.rate;
    wait_until(due, producer);
    memcpy(data, &due, sizeof due);
    produce_one(topic, producer, (int32_t)(i % p.partitions), data, size);
    if (i % 64 == 0) rd_kafka_poll(producer, 0);
  }
  const double sent = now() - p.began;
  rd_kafka_flush(producer, 30000);
  pthread_join(reader, NULL);
  qsort(p.times, (size_t)p.records, sizeof(double), by_value);
  const double last = (double)(p.records - 1);
  printf(
      "{\"records\": %ld, \"records_per_s\": %.0f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, "
      "\"p9999_ms\": %.3f, \"max_ms\": %.3f}\n",
      p.records, (double)p.records / sent, p.times[(long)(last * 0.5)] * 1e3, p.times[(long)(last * 0.99)] * 1e3,
      p.times[(long)(last * 0.999)] * 1e3, p.times[(long)(last * 0.9999)] * 1e3, p.times[p.records - 1] * 1e3);
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(producer);
  rd_kafka_consumer_close(p.consumer);
  rd_kafka_destroy(p.consumer);
}

// --- many clients

struct many {
  const char *brokers, *name;
  int clients, partitions, pair_count;
  char** pairs;
  size_t size;
  long records;  // of all
  atomic_long consumed;
  atomic_int next;
};

static char** copy_pairs(const struct many* m) {
  char** out = malloc(sizeof(char*) * (size_t)(m->pair_count + 1));
  for (int i = 0; i < m->pair_count; i++) out[i] = strdup(m->pairs[i]);
  return out;
}

static void* produce_many(void* arg) {
  struct many* m = arg;
  rd_kafka_conf_t* conf = configure(m->brokers, m->pair_count, copy_pairs(m));
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  rd_kafka_t* rk = open_client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(rk, m->name, NULL);
  char* data = noise(m->size);
  for (long i = 0; i < m->records / m->clients; i++) {
    produce_one(topic, rk, RD_KAFKA_PARTITION_UA, data, m->size);
    if (i % 100 == 0) rd_kafka_poll(rk, 0);
  }
  while (rd_kafka_flush(rk, 1000)) {
  }
  free(data);
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(rk);
  return NULL;
}

static void* consume_many(void* arg) {
  struct many* m = arg;
  rd_kafka_conf_t* conf = configure(m->brokers, 0, NULL);
  set(conf, "group.id", "rdkafka_perf");
  set(conf, "enable.auto.commit", "false");
  set(conf, "auto.offset.reset", "error");
  rd_kafka_t* rk = open_client(RD_KAFKA_CONSUMER, conf);
  rd_kafka_poll_set_consumer(rk);
  rd_kafka_topic_partition_list_t* list = rd_kafka_topic_partition_list_new(m->partitions);
  for (int i = atomic_fetch_add(&m->next, 1); i < m->partitions; i += m->clients) {
    rd_kafka_topic_partition_list_add(list, m->name, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
  }
  if (rd_kafka_assign(rk, list)) die("assign", "is refused");
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_queue_t* queue = rd_kafka_queue_get_consumer(rk);
  rd_kafka_message_t* messages[1000];
  const long all = m->records / m->clients * m->clients;
  double last = now();
  while (atomic_load(&m->consumed) < all) {
    const ssize_t n = rd_kafka_consume_batch_queue(queue, 200, messages, 1000);
    for (ssize_t i = 0; i < n; i++) {
      if (messages[i]->err) die("consume", rd_kafka_message_errstr(messages[i]));
      rd_kafka_message_destroy(messages[i]);
    }
    if (n > 0) {
      atomic_fetch_add(&m->consumed, n);
      last = now();
    }
    if (now() - last > 60) die("many", "nothing came for 60 s");
  }
  rd_kafka_queue_destroy(queue);
  rd_kafka_consumer_close(rk);
  rd_kafka_destroy(rk);
  return NULL;
}

static void many(int argc, char** argv) {
  if (argc < 8) die("many", "needs CLIENTS RECORDS SIZE PARTITIONS");
  struct many m = {.brokers = argv[2], .name = argv[3], .clients = atoi(argv[4]), .records = atol(argv[5])};
  m.size = (size_t)atol(argv[6]);
  m.partitions = atoi(argv[7]);
  m.pair_count = argc - 8;
  m.pairs = argv + 8;
  if (m.clients < 1 || m.records < m.clients || m.size < 1 || m.partitions < m.clients)
    die("many", "a number is out of range");
  pthread_t* threads = malloc(sizeof(pthread_t) * (size_t)m.clients * 2);
  const double began = now(), used = cpu();
  for (int i = 0; i < m.clients * 2; i++) {
    if (pthread_create(&threads[i], NULL, i % 2 ? consume_many : produce_many, &m)) die("many", "no thread");
  }
  for (int i = 0; i < m.clients * 2; i++) pthread_join(threads[i], NULL);
  const long all = m.records / m.clients * m.clients;
  report(all, (double)all * (double)m.size, now() - began, cpu() - used);
  free(threads);
}

int main(int argc, char** argv) {
  if (argc < 6) {
    fprintf(stderr,
            "usage: rdkafka_perf produce|consume|latency BROKERS TOPIC RECORDS SIZE|PARTITIONS [KEY=VALUE ...]\n"
            "       rdkafka_perf paced BROKERS TOPIC RATE SECONDS SIZE PARTITIONS [KEY=VALUE ...]\n"
            "       rdkafka_perf many BROKERS TOPIC CLIENTS RECORDS SIZE PARTITIONS [KEY=VALUE ...]\n");
    return 2;
  }
  if (!strcmp(argv[1], "paced")) {
    paced(argc, argv);
    return 0;
  }
  if (!strcmp(argv[1], "many")) {
    many(argc, argv);
    return 0;
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
    die(argv[1], "is not produce, consume, latency, paced or many");
  }
  return 0;
}
