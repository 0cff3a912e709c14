// Many connections to one broker that each do little: over the bare protocol, on one thread, because a thousand clients
// of any library would measure their own threads. One JSON line on stdout.
//
//   raw_load produce HOST PORT TOPIC PARTITIONS CONNECTIONS RATE SECONDS SIZE
//
// Each connection produces one record of SIZE bytes to one partition (acks=1) and waits for the answer. RATE is
// requests a second over all connections, at even times whether answers have come or not: a request is due at its time,
// and its latency counts from there; 0 sends the next when an answer has come. The broker leads all partitions.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct connection {
  int socket;
  int waits;      // for an answer
  double due;     // of the request under way
  size_t filled;  // of its answer
  char answer[512];
};

static char request[65536];
static size_t request_size, partition_at, topic_size;
static double* latencies;
static size_t answered, capacity;

static void die(const char* what, const char* why) {
  fprintf(stderr, "raw_load: %s: %s\n", what, why);
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

// --- the request, made once: Produce v3 with a batch of one record

static char* put(char* to, const void* from, size_t size) {
  memcpy(to, from, size);
  return to + size;
}
static char* put8(char* to, int value) {
  *to = (char)value;
  return to + 1;
}
static char* put16(char* to, int value) { return put(to, &(uint16_t){htobe16((uint16_t)value)}, 2); }
static char* put32(char* to, int64_t value) { return put(to, &(uint32_t){htobe32((uint32_t)value)}, 4); }
static char* put64(char* to, int64_t value) { return put(to, &(uint64_t){htobe64((uint64_t)value)}, 8); }
static char* put_string(char* to, const char* text) {
  const size_t size = strlen(text);
  return put(put16(to, (int)size), text, size);
}
static char* put_varint(char* to, int64_t value) {
  uint64_t zigzag = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
  for (; zigzag >= 128; zigzag >>= 7) to = put8(to, (int)(zigzag & 127) | 128);
  return put8(to, (int)zigzag);
}

static uint32_t crc32c(const char* bytes, size_t size) {
  uint32_t crc = ~0U;
  for (size_t i = 0; i < size; i++) {
    crc ^= (unsigned char)bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78U & (0U - (crc & 1)));
  }
  return ~crc;
}

static char* put_batch(char* to, size_t size) {
  static char record[40000];
  char* end = put8(record, 0);              // attributes
  end = put_varint(put_varint(end, 0), 0);  // timestamp and offset: no distance
  end = put_varint(end, -1);                // no key
  end = put_varint(end, (int64_t)size);
  for (size_t i = 0; i < size; i++) *end++ = (char)('a' + i % 26);
  end = put_varint(end, 0);  // no headers
  char* length_at = put64(to, 0);
  char* crc_at = put8(put32(length_at + 4, -1), 2);
  char* at = put16(crc_at + 4, 0);
  const int64_t millis = (int64_t)time(NULL) * 1000;
  at = put64(put64(put32(at, 0), millis), millis);
  at = put32(put32(put16(put64(at, -1), -1), -1), 1);
  at = put_varint(at, end - record);
  at = put(at, record, (size_t)(end - record));
  put32(length_at, at - length_at - 4);
  put32(crc_at, crc32c(crc_at + 4, (size_t)(at - crc_at - 4)));
  return at;
}

static void make_request(const char* topic, size_t size) {
  char* at = put16(put16(request + 4, 0), 3);
  at = put_string(put32(at, 1), "raw_load");
  at = put16(at, -1);               // no transaction
  at = put32(put16(at, 1), 30000);  // acks, time
  at = put_string(put32(at, 1), topic);
  at = put32(at, 1);
  partition_at = (size_t)(at - request);
  at += 4;
  char* const length_at = at;
  at = put_batch(at + 4, size);
  put32(length_at, at - length_at - 4);
  request_size = (size_t)(at - request);
  put32(request, (int64_t)request_size - 4);
  topic_size = strlen(topic);
}

// --- the connections

static void send_one(struct connection* c, int partition, double due) {
  put32(request + partition_at, partition);
  const ssize_t n = send(c->socket, request, request_size, MSG_NOSIGNAL);
  if (n != (ssize_t)request_size) die("send", n < 0 ? strerror(errno) : "the socket's buffer is full");
  c->waits = 1;
  c->due = due;
  c->filled = 0;
}

// Whether the answer is whole.
static int take_answer(struct connection* c) {
  const ssize_t n = recv(c->socket, c->answer + c->filled, sizeof c->answer - c->filled, 0);
  if (n == 0) die("recv", "the broker closed a connection");
  if (n < 0) {
    if (errno == EAGAIN) return 0;
    die("recv", strerror(errno));
  }
  c->filled += (size_t)n;
  uint32_t size;
  if (c->filled < 4) return 0;
  memcpy(&size, c->answer, 4);
  size = be32toh(size);
  if (size + 4 > sizeof c->answer) die("answer", "is larger than a produce's can be");
  if (c->filled < size + 4) return 0;
  uint16_t error;
  const size_t error_at = 4 + 4 + 4 + 2 + topic_size + 4 + 4;
  if (error_at + 2 > c->filled) die("answer", "is too short");
  memcpy(&error, c->answer + error_at, 2);
  if (error) {
    fprintf(stderr, "raw_load: produce: error %d\n", (int)(int16_t)be16toh(error));
    exit(1);
  }
  if (answered == capacity) die("answers", "are more than there is room for");
  latencies[answered++] = now() - c->due;
  c->waits = 0;
  return 1;
}

static int open_one(const char* host, int port) {
  const int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die(host, "is not an IPv4 address");
  if (s < 0 || connect(s, (struct sockaddr*)&address, sizeof address)) die("connect", strerror(errno));
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return s;
}

static int by_value(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void report(int connections, double opening, double seconds, double used) {
  qsort(latencies, answered, sizeof *latencies, by_value);
  const double last = (double)(answered - 1);
  printf("{\"connections\": %d, \"connect_seconds\": %.4f, \"requests\": %zu, \"seconds\": %.4f, \"client_cpu\": %.3f",
         connections, opening, answered, seconds, used);
  const struct {
    const char* name;
    double share;
  } shown[] = {{"p50_ms", 0.5}, {"p99_ms", 0.99}, {"p999_ms", 0.999}, {"max_ms", 1}};
  for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
    printf(", \"%s\": %.3f", shown[i].name, latencies[(size_t)(last * shown[i].share)] * 1e3);
  }
  printf("}\n");
}

int main(int argc, char** argv) {
  if (argc != 10 || strcmp(argv[1], "produce") != 0) {
    fprintf(stderr, "usage: raw_load produce HOST PORT TOPIC PARTITIONS CONNECTIONS RATE SECONDS SIZE\n");
    return 2;
  }
  const int port = atoi(argv[3]), partitions = atoi(argv[5]), count = atoi(argv[6]);
  const double rate = atof(argv[7]), seconds = atof(argv[8]);
  const size_t size = (size_t)atol(argv[9]);
  if (partitions < 1 || count < 1 || seconds <= 0 || size < 1 || size > 32768)
    die("arguments", "a number is out of range");
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  make_request(argv[4], size);
  capacity = 20000000;
  latencies = malloc(capacity * sizeof *latencies);
  struct connection* all = calloc((size_t)count, sizeof *all);
  const int epoll = epoll_create1(0);
  const double opened = now();
  for (int i = 0; i < count; i++) {
    all[i].socket = open_one(argv[2], port);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
    epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].socket, &event);
  }
  const double began = now(), used = cpu(), end = began + seconds;
  size_t sent = 0, next = 0;
  if (rate <= 0) {
    for (int i = 0; i < count; i++) send_one(&all[i], i % partitions, now());
    sent = (size_t)count;
  }
  struct epoll_event events[256];
  while (now() < end || answered < sent) {
    int wait = 1;
    if (rate > 0) {
      // What is due goes out; a connection that still waits is passed over, and the request stays due.
      for (; now() < end && began + (double)sent / rate <= now(); sent++) {
        size_t tried = 0;
        while (all[next].waits && tried++ < (size_t)count) next = (next + 1) % (size_t)count;
        if (all[next].waits) break;
        send_one(&all[next], (int)(next % (size_t)partitions), began + (double)sent / rate);
        next = (next + 1) % (size_t)count;
      }
      wait = now() < end && began + (double)sent / rate - now() < 0.001 ? 0 : 1;
    }
    const int n = epoll_wait(epoll, events, 256, wait);
    for (int i = 0; i < n; i++) {
      struct connection* c = events[i].data.ptr;
      if (take_answer(c) && rate <= 0 && now() < end) {
        send_one(c, (int)((c - all) % partitions), now());
        sent++;
      }
    }
    if (now() > end + 30) die("answers", "30 s after the end some are missing");
  }
  report(count, began - opened, now() - began, cpu() - used);
  return 0;
}
