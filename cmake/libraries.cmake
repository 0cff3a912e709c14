# The libraries of the design, each as one target. A room names those it uses (LIBS); headers come as system headers.

find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(ZLIB REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(Python3 REQUIRED COMPONENTS Interpreter)
if(WEIR_TESTS)
  find_package(GTest REQUIRED)
endif()

function(weir_library name header)
  find_path(WEIR_${name}_INCLUDE ${header} REQUIRED)
  add_library(weir::${name} INTERFACE IMPORTED)
  target_include_directories(weir::${name} SYSTEM INTERFACE ${WEIR_${name}_INCLUDE})
  foreach(lib IN LISTS ARGN)
    find_library(WEIR_${name}_${lib} ${lib} REQUIRED)
    target_link_libraries(weir::${name} INTERFACE ${WEIR_${name}_${lib}})
  endforeach()
endfunction()

weir_library(isal isa-l/crc.h isal)
weir_library(zstd zstd.h zstd)
weir_library(lz4 lz4frame.h lz4)
weir_library(snappy snappy-c.h snappy)
weir_library(zookeeper zookeeper/zookeeper.h zookeeper_mt)
weir_library(cli11 CLI/CLI.hpp)

# Boost's header libraries, each compiled once (third/).
weir_library(boost boost/asio.hpp)
target_compile_definitions(weir::boost INTERFACE
  BOOST_ASIO_SEPARATE_COMPILATION BOOST_ASIO_NO_DEPRECATED BOOST_BEAST_SEPARATE_COMPILATION BOOST_ALL_NO_LIB
  BOOST_JSON_NO_LIB)
function(weir_boost name sources)
  add_library(weir_boost_${name} STATIC EXCLUDE_FROM_ALL ${sources})
  target_link_libraries(weir_boost_${name} PUBLIC weir::boost ${ARGN} Threads::Threads)
  # Sanitizers must see the same containers and stacks everywhere; warnings are Boost's own business.
  target_compile_options(weir_boost_${name} PRIVATE -w $<TARGET_PROPERTY:weir_options,INTERFACE_COMPILE_OPTIONS>)
  add_library(weir::${name} ALIAS weir_boost_${name})
endfunction()
weir_boost(asio "${CMAKE_SOURCE_DIR}/third/asio.cc;${CMAKE_SOURCE_DIR}/third/asio_ssl.cc" OpenSSL::SSL OpenSSL::Crypto)
weir_boost(beast "${CMAKE_SOURCE_DIR}/third/beast.cc" weir_boost_asio)
weir_boost(json "${CMAKE_SOURCE_DIR}/third/json.cc")
