// libFuzzer's entry points. `fuzz_NAME --seeds DIR` writes the seeds and ends.
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "fuzz/fuzz.h"

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc != 3 || std::string_view((*argv)[1]) != "--seeds") return 0;
  int n = 0;
  for (const auto& seed : weir::fuzz::seeds()) {
    std::ofstream out(std::string((*argv)[2]) + "/seed-" + std::to_string(n++), std::ios::binary);
    out.write(seed.data(), static_cast<std::streamsize>(seed.size()));
    if (!out.flush()) {
      std::fprintf(stderr, "cannot write seeds to %s\n", (*argv)[2]);
      std::exit(1);
    }
  }
  std::printf("%d seeds\n", n);
  std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  weir::fuzz::run({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
