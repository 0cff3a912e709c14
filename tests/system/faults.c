/* Preloaded into a server under test (LD_PRELOAD): makes its disk slow or broken and its wall clock jump, as a file says
 * that the test maps too (faults.py). The file's name is in SYSTEM_TEST_FAULTS; without it nothing changes. Only files
 * whose path begins with the prefix are slow. Monotonic clocks stay right: a wall clock that is set does not touch them. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct faults {
  int64_t wall_ns;       /* added to the wall clock */
  uint32_t write_us;     /* each write waits that long first */
  uint32_t sync_us;      /* each fsync and fdatasync */
  uint32_t write_errno;  /* not 0: writes fail so */
  uint32_t sync_errno;
  char prefix[512];
};

static volatile struct faults *faults;

__attribute__((constructor)) static void map_faults(void) {
  const char *name = getenv("SYSTEM_TEST_FAULTS");
  int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
  if (fd < 0) return;
  void *p = mmap(NULL, sizeof(struct faults), PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  if (p != MAP_FAILED) faults = p;
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int meant(int fd) { /* a regular file below the prefix */
  char link[64], path[1024];
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n <= 0) return 0;
  path[n] = 0;
  size_t k = strlen((const char *)faults->prefix);
  return k > 0 && strncmp(path, (const char *)faults->prefix, k) == 0;
}

static void wait_us(uint32_t us) {
  struct timespec t = {us / 1000000, (long)(us % 1000000) * 1000};
  while (nanosleep(&t, &t) != 0 && errno == EINTR) {
  }
}

static int before(int fd, uint32_t us, uint32_t error) { /* 0, or -1 with errno */
  if (!us && !error) return 0;
  int kept = errno;
  if (meant(fd)) {
    if (us) wait_us(us);
    if (error) {
      errno = (int)error;
      return -1;
    }
  }
  errno = kept;
  return 0;
}

#define BEFORE_WRITE(fd) \
  if (faults && before(fd, faults->write_us, faults->write_errno)) return -1
#define BEFORE_SYNC(fd) \
  if (faults && before(fd, faults->sync_us, faults->sync_errno)) return -1

ssize_t write(int fd, const void *b, size_t n) {
  REAL(write);
  BEFORE_WRITE(fd);
  return real(fd, b, n);
}
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) {
  REAL(pwrite);
  BEFORE_WRITE(fd);
  return real(fd, b, n, o);
}
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) {
  REAL(pwrite64);
  BEFORE_WRITE(fd);
  return real(fd, b, n, o);
}
ssize_t writev(int fd, const struct iovec *v, int n) {
  REAL(writev);
  BEFORE_WRITE(fd);
  return real(fd, v, n);
}
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) {
  REAL(pwritev);
  BEFORE_WRITE(fd);
  return real(fd, v, n, o);
}
ssize_t pwritev64(int fd, const struct iovec *v, int n, off64_t o) {
  REAL(pwritev64);
  BEFORE_WRITE(fd);
  return real(fd, v, n, o);
}
ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t o, int f) {
  REAL(pwritev2);
  BEFORE_WRITE(fd);
  return real(fd, v, n, o, f);
}
ssize_t pwritev64v2(int fd, const struct iovec *v, int n, off64_t o, int f) {
  REAL(pwritev64v2);
  BEFORE_WRITE(fd);
  return real(fd, v, n, o, f);
}
int fsync(int fd) {
  REAL(fsync);
  BEFORE_SYNC(fd);
  return real(fd);
}
int fdatasync(int fd) {
  REAL(fdatasync);
  BEFORE_SYNC(fd);
  return real(fd);
}

static void jump(struct timespec *t) {
  int64_t ns = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec + faults->wall_ns;
  t->tv_sec = ns / 1000000000;
  t->tv_nsec = ns % 1000000000;
}
int clock_gettime(clockid_t id, struct timespec *t) {
  REAL(clock_gettime);
  int result = real ? real(id, t) : (int)syscall(SYS_clock_gettime, id, t);
  if (result == 0 && faults && faults->wall_ns && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) jump(t);
  return result;
}
int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  (void)zone;
  struct timespec s;
  if (clock_gettime(CLOCK_REALTIME, &s) != 0) return -1;
  t->tv_sec = s.tv_sec;
  t->tv_usec = s.tv_nsec / 1000;
  return 0;
}
time_t time(time_t *out) {
  struct timespec s;
  clock_gettime(CLOCK_REALTIME, &s);
  if (out) *out = s.tv_sec;
  return s.tv_sec;
}
