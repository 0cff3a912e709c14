// Streams between processes, as the rest of Weir sees them. Production binds them to TCP; tests to a network in
// memory that delays, cuts and closes. All calls of a socket are made on the shard that opened it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/units.h"
#include "bytes/shared.h"
#include "runtime/files.h"
#include "runtime/task.h"

namespace weir::runtime {

class Shard;

struct Address {
  std::string host;  // a name or a numeric address; "" and "0.0.0.0" mean all interfaces for a listener
  std::uint16_t port = 0;

  std::string text() const;  // "127.0.0.1:9092", "[::1]:9092"
  friend bool operator==(const Address&, const Address&) = default;
};

// What a write sends, in order: memory that is kept alive, or a range of a file (sendfile where it can).
struct Chunk {
  bytes::Shared memory;
  std::shared_ptr<const File> file;  // when set, the range below is sent and `memory` is not
  std::uint64_t position = 0;
  std::uint64_t length = 0;

  std::uint64_t size() const { return file ? length : memory.size(); }
};

// Reads and writes that wait are ended by close() and must have ended before the socket goes.
class Socket {
 public:
  virtual ~Socket() = default;  // closes

  // At least one byte; 0 at the end of the stream.
  virtual Task<Io<std::size_t>> read_some(bytes::MutableBytes out) = 0;
  // So many bytes are surely still coming, as of a frame whose length is known: the next read may wait until a good
  // part of them is there (SO_RCVLOWAT), instead of waking for each packet. For the next read only; a body may ignore
  // it.
  virtual void expect(std::size_t /*size*/) {}
  // Bytes that have arrived and were not read yet, also those that a read under way does not wake for: a peer of whom
  // there are more than before is not silent.
  virtual std::size_t unread() const = 0;
  // All of it. One write at a time. `progress` (may be null) is increased as bytes leave.
  virtual Task<Io<>> write(std::vector<Chunk> chunks, std::uint64_t* progress = nullptr) = 0;
  // Ends reads and writes that wait, with an error. May be called at any time on the shard, more than once.
  virtual void close() = 0;

  virtual const Address& local() const = 0;
  virtual const Address& peer() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;  // closes
  // A connection that belongs to `owner` (the shard it will be used on). Called on the listener's shard, one at a
  // time. An error other than ECANCELED (closed) is not the end: EMFILE and the like pass.
  virtual Task<Io<std::unique_ptr<Socket>>> accept(Shard& owner) = 0;
  virtual void close() = 0;
  // With the port the system chose where 0 was asked for.
  virtual const Address& local() const = 0;
};

struct SocketOptions {
  int send_buffer_bytes = -1;  // -1: the system's
  int receive_buffer_bytes = -1;
  int backlog = 128;
  milliseconds connect_max{10'000};  // for all addresses of a name together
  // A connect ends, within a tenth of a second, when this becomes true (ECANCELED); read on its shard. May be null.
  std::shared_ptr<const bool> connect_given_up = nullptr;
};

class Sockets {
 public:
  virtual ~Sockets() = default;
  // IPv6 listeners on "::" take IPv4 too.
  virtual Io<std::unique_ptr<Listener>> listen(Shard& shard, Address at, SocketOptions options) = 0;
  virtual Task<Io<std::unique_ptr<Socket>>> connect(Shard& shard, Address to, SocketOptions options) = 0;
};

// TCP; lives as long as the process. The shards must be those of Shards. The first call makes the process ignore
// SIGPIPE, which sendfile(2) would raise.
Sockets& system_sockets();

}  // namespace weir::runtime
