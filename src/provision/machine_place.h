// The body of machine.h: the brokers, each with where it stands. On the place's shard.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "provision/disk.h"
#include "provision/machine.h"
#include "provision/watcher.h"
#include "runtime/files.h"
#include "runtime/pool.h"
#include "runtime/shard.h"

namespace weir::provision {

class MachinePlace final : public Machine {
 public:
  MachinePlace(runtime::Shard& shard, runtime::Pool& pool, MachineOptions options);
  ~MachinePlace() override;

  Task<Outcome<>> open();

  Task<Outcome<std::string>> free_block(std::vector<std::string> taken, std::int32_t brokers,
                                        std::vector<std::uint16_t> ports) override;
  std::string address_of(const std::string& block, std::int32_t id) const override;
  Task<Outcome<>> put(BrokerSpec spec) override;
  Task<Outcome<>> start(BrokerKey key, milliseconds wait) override;
  Task<Outcome<>> stop(BrokerKey key, StopHow how) override;
  Task<Outcome<>> kill(BrokerKey key) override;
  Task<Outcome<>> restart(BrokerKey key, StopHow how, milliseconds wait) override;
  Task<Outcome<>> remove(BrokerKey key, bool with_data) override;
  std::optional<BrokerStatus> status(const BrokerKey& key) const override;
  std::optional<BrokerSpec> spec(const BrokerKey& key) const override;
  std::vector<BrokerKey> brokers() const override;
  Task<Outcome<Volume>> volume(BrokerKey key) override;
  void listen(std::function<void(const BrokerEvent&)> listener) override { listener_ = std::move(listener); }
  Task<void> close() override;
  Task<void> stop_all(milliseconds deadline) override;

 private:
  struct Broker {
    Record record;
    BrokerStatus status;
    nanoseconds launched{0};
    milliseconds backoff{0};
    std::uint64_t ends = 0;     // how often it ended, in any way: a start that waits sees that its process is gone
    bool changing = false;      // a put, stop, restart or remove is under way
    bool saving = false;        // its record is being written
    bool launching = false;     // its process is being made
    bool clearing = false;      // it is cleared up behind it
    bool gone = false;          // removed
    bool unusable = false;      // it ended because of what lies in its log directory
    bool waiting = false;       // to begin without data
    bool empty = false;         // it may begin without data: no more questions until it has served
    std::int64_t log_from = 0;  // where the words of its process begin in its log
    runtime::Shard::TimerId timer = 0;  // starts it again, or kills what does not get ready
    std::vector<runtime::Waiter*> waiters;
  };
  using Ref = std::shared_ptr<Broker>;
  // Marks a broker as being changed while it lives.
  struct Turn;
  // Counts a call that is under way; close() waits for all.
  struct Call;

  Ref find(const BrokerKey& key) const;
  void set_state(Broker& broker, BrokerState state);
  void tell(BrokerEvent::Type type, const Broker& broker, std::string text);
  void wake(Broker& broker);
  // Until something of it changes, or `deadline`; false: the deadline. Wakes at close.
  Task<bool> changed(Ref broker, nanoseconds deadline);
  void start_at(Ref broker, nanoseconds when);
  void kill_at(Ref broker, nanoseconds when);
  void cancel_timer(Broker& broker);

  void adopt(Record record, bool ready);
  Task<void> recover(Ref broker);
  Task<void> launch(Ref broker);
  // Whether its process may be made: at once where there is data, else when `may_begin_empty` has nothing against it.
  // False: it is not wanted any more.
  Task<bool> may_begin(Ref broker);
  // All of its cluster here wait to begin without data: nobody is left who has any.
  bool all_wait(const Broker& broker) const;
  // Kills who runs and whose data was removed below it.
  Task<void> look_after_data();
  // By itself when `how` says how it ended; else by order.
  Task<void> after_end(Ref broker, std::string how);
  // Of a process that this place does not know of, in a directory that is being put: its record was lost.
  Task<void> end_stranger(BrokerKey key);
  void back_off(Broker& broker);
  void on_ended(ProcessId process, std::optional<int> status);
  void on_ready(ProcessId process);
  Task<void> note_data(Ref broker);
  Task<Outcome<>> await_serving(Ref broker, milliseconds wait);
  Task<Outcome<>> do_stop(Ref broker, StopHow how);
  Task<Outcome<>> want(Ref broker, bool up);
  Task<Outcome<>> save(Ref broker, bool with_spec);
  std::string failure_text(const Broker& broker) const;

  runtime::Shard& shard_;
  runtime::Pool& pool_;
  MachineOptions options_;
  Disk disk_;
  std::unique_ptr<runtime::File> lock_;
  std::map<BrokerKey, Ref> brokers_;
  std::function<void(const BrokerEvent&)> listener_;
  runtime::Scope scope_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // of jobs that the watcher posted
  std::unique_ptr<Watcher> watcher_;
  bool closing_ = false;
  bool ending_ = false;  // all is being stopped: nothing is started again
  std::size_t calls_ = 0;
  runtime::Waiter* closer_ = nullptr;
  runtime::Waiter* looking_ = nullptr;
};

}  // namespace weir::provision
