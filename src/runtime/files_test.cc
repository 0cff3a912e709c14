// One suite for the system's file system and for the simulated one, and what only the simulated one can do.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "runtime/files.h"
#include "runtime/sim.h"

namespace weir::runtime {
namespace {

using bytes::as_bytes;

std::string text_at(const File& file, std::uint64_t position, std::size_t size) {
  std::string out(size, '?');
  const auto n = file.read_at(position, std::as_writable_bytes(std::span(out)));
  EXPECT_TRUE(n) << (n ? "" : n.error().message);
  out.resize(n.value_or(0));
  return out;
}

class FilesSuite : public testing::TestWithParam<bool> {
 protected:
  FilesSuite() {
    if (GetParam()) {
      files = &sim;
      root = "/data";
      EXPECT_TRUE(sim.make_directories(root));
    } else {
      files = &system_files();
      std::string name = testing::TempDir() + "weir-files-XXXXXX";
      root = ::mkdtemp(name.data());
    }
  }
  ~FilesSuite() override { EXPECT_TRUE(files->remove_all(root)); }

  SimFiles sim;
  Files* files;
  std::string root;
};
INSTANTIATE_TEST_SUITE_P(Bodies, FilesSuite, testing::Bool(),
                         [](const auto& info) { return info.param ? "simulated" : "system"; });

TEST_P(FilesSuite, parts_are_written_one_after_the_other) {
  auto file = files->open(root + "/f", Open::create_new);
  ASSERT_TRUE(file);
  std::vector<bytes::Bytes> parts;
  const std::string piece = "0123456789";
  for (int i = 0; i < 150; ++i) {
    parts.push_back(as_bytes(piece));
    parts.push_back({});
  }
  ASSERT_TRUE((*file)->write_at(3, parts));
  EXPECT_EQ((*file)->size(), 1503U);
  EXPECT_EQ(text_at(**file, 1, 5), std::string("\0\0"
                                               "012",
                                               5));
  EXPECT_EQ(text_at(**file, 1500, 100), "789");
  EXPECT_EQ(text_at(**file, 1503, 1), "");
  EXPECT_EQ(text_at(**file, 9999, 1), "");
  ASSERT_TRUE((*file)->truncate(5));
  EXPECT_EQ(text_at(**file, 0, 100), std::string("\0\0\0"
                                                 "01",
                                                 5));
  EXPECT_TRUE((*file)->sync());
}

TEST_P(FilesSuite, how_a_file_is_opened) {
  EXPECT_EQ(files->open(root + "/f", Open::read).error().number, ENOENT);
  EXPECT_EQ(files->open(root + "/f", Open::write).error().number, ENOENT);
  EXPECT_EQ(files->open(root + "/none/f", Open::create).error().number, ENOENT);
  EXPECT_TRUE(files->open(root + "/f", Open::create));
  EXPECT_TRUE(files->open(root + "/f", Open::create));
  EXPECT_EQ(files->open(root + "/f", Open::create_new).error().number, EEXIST);
  auto reader = files->open(root + "/f", Open::read);
  ASSERT_TRUE(reader);
  const auto refused = (*reader)->write_at(0, as_bytes("x"));
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find(root + "/f"), std::string::npos) << refused.error().message;
}

TEST_P(FilesSuite, directories) {
  ASSERT_TRUE(files->make_directories(root + "/a/b//c/"));
  ASSERT_TRUE(files->make_directories(root + "/a/b/c"));
  EXPECT_EQ(files->is_directory(root + "/a/b"), true);
  ASSERT_TRUE(files->open(root + "/a/z", Open::create));
  ASSERT_TRUE(files->open(root + "/a/b.log", Open::create));
  EXPECT_EQ(files->list(root + "/a"), (std::vector<std::string>{"b", "b.log", "z"}));
  EXPECT_EQ(files->make_directories(root + "/a/z/d").error().number, ENOTDIR);
  EXPECT_EQ(files->list(root + "/none").error().number, ENOENT);
  EXPECT_EQ(files->remove(root + "/none").error().number, ENOENT);
  EXPECT_EQ(files->remove(root + "/a/b").error().number, EISDIR);
  ASSERT_TRUE(files->rename(root + "/a", root + "/n"));
  EXPECT_EQ(files->exists(root + "/a"), false);
  EXPECT_EQ(files->list(root + "/n"), (std::vector<std::string>{"b", "b.log", "z"}));
  EXPECT_EQ(files->exists(root + "/n/b/c"), true);
  ASSERT_TRUE(files->sync_directory(root));
  ASSERT_TRUE(files->remove_all(root + "/n"));
  ASSERT_TRUE(files->remove_all(root + "/n")) << "missing is fine";
  EXPECT_EQ(files->list(root), std::vector<std::string>{});
  EXPECT_GT(files->free_bytes(root).value_or(0), 0U);
  EXPECT_GE(files->total_bytes(root).value_or(0), files->free_bytes(root).value_or(0));
}

TEST_P(FilesSuite, rename_replaces_and_open_files_live_on) {
  ASSERT_TRUE(files->write_whole(root + "/a", "old"));
  auto old = files->open(root + "/a", Open::read);
  ASSERT_TRUE(old);
  ASSERT_TRUE(files->write_whole(root + "/a", "newer"));
  EXPECT_EQ(text_at(**old, 0, 10), "old");
  EXPECT_EQ(files->read_whole(root + "/a"), "newer");
  EXPECT_EQ(files->list(root), std::vector<std::string>{"a"}) << "no temporary file is left";
  EXPECT_EQ(files->read_whole(root + "/a", 4).error().number, EFBIG);
}

TEST_P(FilesSuite, one_holds_a_lock) {
  auto first = files->lock(root + "/.lock");
  ASSERT_TRUE(first);
  EXPECT_EQ(files->lock(root + "/.lock").error().number, EWOULDBLOCK);
  first->reset();
  EXPECT_TRUE(files->lock(root + "/.lock"));
}

TEST_P(FilesSuite, what_was_just_written_is_cached) {
  auto file = files->open(root + "/f", Open::create);
  ASSERT_TRUE(file);
  const std::string data(200'000, 'x');
  ASSERT_TRUE((*file)->write_at(0, as_bytes(data)));
  ASSERT_TRUE((*file)->warm(0, data.size()));
  EXPECT_TRUE((*file)->cached(0, data.size()));
  EXPECT_TRUE((*file)->cached(100, 0));
  std::string back(300'000, '?');
  const auto n = (*file)->read_cached_at(10, std::as_writable_bytes(std::span(back)));
  // A file system that cannot tell gives nothing, never a wrong byte.
  ASSERT_TRUE(n);
  EXPECT_TRUE(*n == data.size() - 10 || *n == 0) << *n;
  EXPECT_EQ(back.substr(0, *n), std::string(*n, 'x'));
}

// ---- only the simulated disk ----

TEST(SimFiles, a_crash_keeps_what_was_synced) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    SimFiles files(seed);
    ASSERT_TRUE(files.make_directories("/d"));
    ASSERT_TRUE(files.sync_directory("/"));
    auto file = files.open("/d/f", Open::create);
    ASSERT_TRUE((*file)->write_at(0, as_bytes("kept")));
    ASSERT_TRUE((*file)->sync());
    ASSERT_TRUE(files.sync_directory("/d"));
    ASSERT_TRUE((*file)->write_at(4, as_bytes("perhaps")));
    files.crash();
    EXPECT_EQ((*file)->write_at(0, as_bytes("x")).error().number, EIO);
    EXPECT_EQ(files.read_whole("/d/f").value_or("").substr(0, 4), "kept");
  }
}

TEST(SimFiles, a_crash_may_lose_tear_or_keep_what_was_not) {
  std::set<std::uint64_t> sizes;
  int lost_file = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SimFiles files(seed);
    auto file = files.open("/f", Open::create);
    ASSERT_TRUE(files.sync_directory("/"));
    const std::string data(1024, 'x');
    ASSERT_TRUE((*file)->write_at(0, as_bytes(data)));
    ASSERT_TRUE(files.open("/g", Open::create));
    files.crash();
    sizes.insert(files.read_whole("/f").value_or("absent").size());
    if (!*files.exists("/g")) ++lost_file;
  }
  EXPECT_EQ(sizes, (std::set<std::uint64_t>{0, 512, 1024}));
  EXPECT_GT(lost_file, 50);
  EXPECT_LT(lost_file, 250);
}

// A partition that is deleted and made again: the old one's files are where it went, whatever of their names was
// synced.
TEST(SimFiles, a_directory_keeps_its_names_when_it_moves) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SimFiles files(seed);
    ASSERT_TRUE(files.make_directories("/d/t"));
    ASSERT_TRUE(files.sync_directory("/"));
    ASSERT_TRUE(files.sync_directory("/d"));
    const auto put = [&](std::string_view text) {
      auto file = files.open("/d/t/id.tmp", Open::create);
      ASSERT_TRUE(file);
      ASSERT_TRUE((*file)->write_at(0, bytes::as_bytes(text)));
      ASSERT_TRUE((*file)->sync());
      ASSERT_TRUE(files.rename("/d/t/id.tmp", "/d/t/id"));
    };
    put("old");
    ASSERT_TRUE(files.rename("/d/t", "/d/gone"));
    ASSERT_TRUE(files.sync_directory("/d"));
    ASSERT_TRUE(files.make_directories("/d/t"));
    ASSERT_TRUE(files.sync_directory("/d"));
    put("new");
    files.crash();
    ASSERT_TRUE(*files.exists("/d/t"));
    if (*files.exists("/d/t/id")) {
      EXPECT_EQ(*files.read_whole("/d/t/id"), "new") << seed;
    }
  }
}

TEST(SimFiles, write_whole_is_atomic_under_crashes) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    SimFiles files(seed);
    ASSERT_TRUE(files.write_whole("/f", "one"));
    // Power fails at the n-th step of the second write.
    auto left = static_cast<int>(seed % 7);
    files.set_fault([&](SimFiles::Op, const std::string&) { return left-- > 0 ? 0 : EIO; });
    const bool done = files.write_whole("/f", "second").has_value();
    files.set_fault(nullptr);
    files.crash();
    const auto now = files.read_whole("/f").value_or("absent");
    EXPECT_TRUE(now == "second" || (!done && now == "one")) << now;
  }
}

TEST(SimFiles, a_full_disk_takes_a_part) {
  SimFiles files;
  files.set_capacity(10);
  auto file = files.open("/f", Open::create);
  ASSERT_TRUE((*file)->write_at(0, as_bytes("1234567")));
  EXPECT_EQ((*file)->write_at(7, as_bytes("89abcd")).error().number, ENOSPC);
  EXPECT_EQ((*file)->size(), 10U);
  ASSERT_TRUE(files.remove("/f"));
  EXPECT_EQ(files.free_bytes("/"), 10U);
  EXPECT_EQ(files.total_bytes("/"), 10U);
}

TEST(SimFiles, a_dropped_cache_is_cold_until_warmed) {
  SimFiles files;
  auto file = files.open("/f", Open::create);
  const std::string data(10'000, 'x');
  ASSERT_TRUE((*file)->write_at(0, as_bytes(data)));
  files.drop_cache();
  EXPECT_FALSE((*file)->cached(0, 1));
  std::string back(100, '?');
  EXPECT_EQ((*file)->read_cached_at(0, std::as_writable_bytes(std::span(back))), 0U);
  ASSERT_TRUE((*file)->warm(0, 4096));
  EXPECT_TRUE((*file)->cached(0, 4096));
  EXPECT_FALSE((*file)->cached(0, 4097));
  EXPECT_EQ((*file)->read_cached_at(4000, std::as_writable_bytes(std::span(back))), 96U);
}

TEST(SimFiles, ADirectoryThatTakesTheNameOfOneThatMovedKeepsItsOwnFiles) {
  for (std::uint64_t seed = 1; seed < 20; ++seed) {
    SimFiles files(seed);
    ASSERT_TRUE(files.make_directories("/data/t"));
    ASSERT_TRUE(files.sync_directory("/") && files.sync_directory("/data"));
    ASSERT_TRUE(files.rename("/data/t", "/data/t-delete"));
    ASSERT_TRUE(files.make_directories("/data/t"));
    ASSERT_TRUE(files.write_whole("/data/t/new", "content"));
    ASSERT_TRUE(files.sync_directory("/data"));
    files.crash();
    EXPECT_EQ(files.read_whole("/data/t/new").value_or("gone"), "content") << seed;
  }
}

}  // namespace
}  // namespace weir::runtime
