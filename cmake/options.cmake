# How everything of Weir is compiled: warnings are errors, sanitizers by choice, lld, ccache where it is installed.

add_library(weir_options INTERFACE)
target_compile_options(weir_options INTERFACE
  -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wno-missing-field-initializers
  -Wno-missing-designated-field-initializers
  -fno-omit-frame-pointer -gline-tables-only)
target_link_options(weir_options INTERFACE -fuse-ld=lld)

if(WEIR_SANITIZE STREQUAL "address")
  target_compile_options(weir_options INTERFACE -fsanitize=address,undefined -fno-sanitize-recover=all)
  target_link_options(weir_options INTERFACE -fsanitize=address,undefined)
elseif(WEIR_SANITIZE STREQUAL "thread")
  target_compile_options(weir_options INTERFACE -fsanitize=thread)
  target_link_options(weir_options INTERFACE -fsanitize=thread)
elseif(NOT WEIR_SANITIZE STREQUAL "")
  message(FATAL_ERROR "WEIR_SANITIZE is empty, address or thread, not '${WEIR_SANITIZE}'")
endif()

# Every object counts what it runs; main() comes with -fsanitize=fuzzer (tests/fuzz/CMakeLists.txt).
if(WEIR_FUZZ)
  target_compile_options(weir_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Build folders side by side share their objects: ccache sees paths relative to the source.
find_program(WEIR_CCACHE ccache)
if(WEIR_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 ${WEIR_CCACHE})
endif()
