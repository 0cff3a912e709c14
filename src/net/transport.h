// What a connection reads and writes through: the seat of TLS and of SASL. The plain one passes everything to the
// socket. A TLS one does its handshake in open() and says in peer_principal() whom the certificate names.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/sockets.h"

namespace weir::net {

class Transport {
 public:
  virtual ~Transport() = default;  // closes

  // Before the first frame: handshakes. Called on the shard that owns the socket.
  virtual runtime::Task<runtime::Io<>> open() = 0;
  // As of runtime::Socket.
  virtual runtime::Task<runtime::Io<std::size_t>> read_some(bytes::MutableBytes out) = 0;
  virtual void expect(std::size_t /*size*/) {}
  // What has arrived and was not given out yet, at whatever stage it is: more of it is a sign of life.
  virtual std::size_t unread() const = 0;
  virtual runtime::Task<runtime::Io<>> write(std::vector<runtime::Chunk> chunks, std::uint64_t* progress) = 0;
  virtual void close() = 0;
  virtual const runtime::Address& local() const = 0;
  virtual const runtime::Address& peer() const = 0;
  // Who the transport itself found out the peer is ("CN=..."); empty: nobody.
  virtual const std::string& peer_principal() const = 0;
  // What it protects the bytes with ("TLSv1.3 TLS_AES_256_GCM_SHA384"); empty: with nothing.
  virtual const std::string& protection() const {
    static const std::string nothing;
    return nothing;
  }
  // Why open() failed, in one of a few words of ours: what is logged of it is limited by it. The error has the
  // sentence, which may hold what the peer said.
  virtual std::string_view trouble() const { return "handshake"; }
};

std::unique_ptr<Transport> plain_transport(std::unique_ptr<runtime::Socket> socket);

}  // namespace weir::net
