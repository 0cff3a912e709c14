// What this machine can do at best, in the parts that a broker is made of. One JSON line on stdout:
// {"name": {"GiB/s": rate, "CPU s/GiB": processor seconds of the thread that a broker would have}}
//
//   limits FOLDER [MIB]     FOLDER is where files are written, on the file system that a broker would use
//
//   writev     pieces of 128 KiB to the end of a file in the page cache, which was there before (its second pass)
//   crc32c     of the same pieces, with the processor's own instruction where it has one
//   receive    recv of up to 128 KiB from a loopback connection: the receiver's processor time alone
//   send       send of 128 KiB over a loopback connection: the sender's
//   sendfile   of 128 KiB out of the page cache over a loopback connection: the sender's
//   fdatasync  after an append of 4 KiB: milliseconds, median and 99th percentile
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <nmmintrin.h>
#endif

enum { piece = 128 << 10 };

static char* data;
static size_t total;

static void die(const char* what) {
  perror(what);
  exit(1);
}

static double at(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double wall(void) { return at(CLOCK_MONOTONIC); }
static double cpu(void) { return at(CLOCK_THREAD_CPUTIME_ID); }

static void show(const char* name, double seconds, double used) {
  const double gib = (double)total / (double)(1 << 30);
  printf("%s\"%s\": {\"GiB/s\": %.3f, \"CPU s/GiB\": %.4f}", strcmp(name, "writev") ? ", " : "{", name, gib / seconds,
         used / gib);
}

static int open_file(const char* folder) {
  char path[4096];
  snprintf(path, sizeof path, "%s/limits.data", folder);
  const int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  if (file < 0) die(path);
  unlink(path);
  return file;
}

static void write_all(int file) {
  for (size_t done = 0; done < total; done += piece) {
    struct iovec parts[2] = {{data, 61}, {data + 61, piece - 61}};
    if (pwritev(file, parts, 2, (off_t)done) != piece) die("pwritev");
  }
}

// Memory that was touched before: a virtual machine pays its first touch to its hypervisor.
static void measure_writev(int file) {
  write_all(file);
  const double began = wall(), used = cpu();
  write_all(file);
  show("writev", wall() - began, cpu() - used);
}

static uint32_t crc32c(const char* bytes, size_t size) {
#ifdef __x86_64__
  // Three streams hide the instruction's latency; they are not joined here, which costs next to nothing.
  uint64_t a = ~0U, b = ~0U, c = ~0U;
  const size_t third = size / 24;
  const uint64_t* words = (const uint64_t*)bytes;
  for (size_t i = 0; i < third; i++) {
    a = _mm_crc32_u64(a, words[i]);
    b = _mm_crc32_u64(b, words[i + third]);
    c = _mm_crc32_u64(c, words[i + 2 * third]);
  }
  return (uint32_t)(a ^ b ^ c);
#else
  uint32_t crc = ~0U;
  for (size_t i = 0; i < size; i++) {
    crc ^= (unsigned char)bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82f63b78U & (0U - (crc & 1)));
  }
  return crc;
#endif
}

static void measure_crc(void) {
  volatile uint32_t sink = 0;
  const double began = wall(), used = cpu();
  for (size_t done = 0; done < total; done += piece) sink ^= crc32c(data, piece);
  show("crc32c", wall() - began, cpu() - used);
}

struct pair {
  int from, to;
};

static struct pair connect_pair(void) {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t size = sizeof address;
  if (bind(listener, (struct sockaddr*)&address, size) || listen(listener, 1)) die("listen");
  if (getsockname(listener, (struct sockaddr*)&address, &size)) die("getsockname");
  struct pair out = {.from = socket(AF_INET, SOCK_STREAM, 0)};
  if (connect(out.from, (struct sockaddr*)&address, size)) die("connect");
  out.to = accept(listener, NULL, NULL);
  if (out.to < 0) die("accept");
  const int on = 1;
  setsockopt(out.from, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  close(listener);
  return out;
}

static double used_by_other;

static void* receive_all(void* arg) {
  char* buffer = malloc(piece);
  memset(buffer, 1, piece);
  const double used = cpu();
  for (size_t got = 0; got < total;) {
    const ssize_t n = recv(*(int*)arg, buffer, piece, 0);
    if (n <= 0) die("recv");
    got += (size_t)n;
  }
  used_by_other = cpu() - used;
  free(buffer);
  return NULL;
}

static void measure_network(int file) {
  for (int kind = 0; kind < 2; kind++) {
    struct pair pair = connect_pair();
    pthread_t other;
    if (pthread_create(&other, NULL, receive_all, &pair.to)) die("pthread_create");
    const double began = wall(), used = cpu();
    for (size_t done = 0; done < total;) {
      off_t offset = (off_t)done;
      const size_t left = total - done < piece ? total - done : piece;
      const ssize_t n = kind == 0 ? send(pair.from, data, left, 0) : sendfile(pair.from, file, &offset, left);
      if (n <= 0) die(kind == 0 ? "send" : "sendfile");
      done += (size_t)n;
    }
    const double sender = cpu() - used;
    pthread_join(other, NULL);
    const double seconds = wall() - began;
    if (kind == 0) show("receive", seconds, used_by_other);
    show(kind == 0 ? "send" : "sendfile", seconds, sender);
    close(pair.from);
    close(pair.to);
  }
}

static int by_value(const void* a, const void* b) {
  const double x = *(const double*)a, y = *(const double*)b;
  return (x > y) - (x < y);
}

static void measure_sync(const char* folder) {
  enum { times = 300 };
  static double took[times];
  const int file = open_file(folder);
  for (int i = 0; i < times; i++) {
    if (pwrite(file, data, 4096, (off_t)i * 4096) != 4096) die("pwrite");
    const double began = wall();
    if (fdatasync(file)) die("fdatasync");
    took[i] = (wall() - began) * 1000;
  }
  qsort(took, times, sizeof *took, by_value);
  printf(", \"fdatasync\": {\"p50 ms\": %.3f, \"p99 ms\": %.3f}}\n", took[times / 2], took[times * 99 / 100]);
  close(file);
}

int main(int argc, char** argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: limits FOLDER [MIB]\n");
    return 2;
  }
  total = (size_t)(argc > 2 ? atoi(argv[2]) : 512) << 20;
  data = malloc(piece);
  for (size_t i = 0; i < piece; i++) data[i] = (char)(i * 31 + (i >> 7));
  const int file = open_file(argv[1]);
  measure_writev(file);
  measure_crc();
  measure_network(file);
  close(file);
  measure_sync(argv[1]);
  return 0;
}
