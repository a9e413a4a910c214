#include "supervisor/host/command_run.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include <fmt/format.h>

namespace pillion::supervisor::host {
namespace {

constexpr std::size_t kOutputBytesMax = 256 * 1024;

}  // namespace

bool CommandResult::is_success() const {
  return spawn_error.empty() && !has_timed_out && WIFEXITED(wait_status) &&
         WEXITSTATUS(wait_status) == 0;
}

std::string CommandResult::describe() const {
  if (!spawn_error.empty()) return spawn_error;
  if (has_timed_out) return "timed out";
  std::string text = WIFEXITED(wait_status)
                         ? fmt::format("exited with {}", WEXITSTATUS(wait_status))
                         : fmt::format("was killed by signal {}", WTERMSIG(wait_status));
  const std::string line = standard_error.substr(0, standard_error.find('\n'));
  if (!line.empty()) text += ": " + line;
  return text;
}

Result<Fd> make_input(const std::string& text) {
  Fd fd(::memfd_create("pillion-input", MFD_CLOEXEC));
  if (!fd) return fail_errno("cannot create an input for a program");
  if (auto written = write_all(fd.get(), text); !written) return fail(written.error());
  if (::lseek(fd.get(), 0, SEEK_SET) < 0) return fail_errno("cannot rewind an input");
  return fd;
}

CommandRun::CommandRun(Loop& loop, ProcessHost& processes, Cgroups& cgroups, std::string name,
                       std::string leaf)
    : loop_(loop),
      processes_(processes),
      cgroups_(cgroups),
      name_(std::move(name)),
      // A group that was killed once kills what is cloned into it later (Linux 6.18): an earlier
      // supervisor's group of that name must not be entered.
      leaf_(fmt::format("{}.{}", leaf, ::getpid())),
      deadline_(loop),
      reply_(loop) {}

CommandRun::~CommandRun() {
  if (!process_) return;
  kill();
  processes_.forget(*process_);
  cgroups_.remove(leaf_);
}

void CommandRun::start(SpawnPlan plan, const std::string& input, Duration timeout, OnDone on_done) {
  on_done_ = std::move(on_done);
  if (auto launched = launch(plan, input); !launched) {
    spawn_error_ = launched.error().message();
    reply_.start(Duration::zero(), [this] { finish({}); });
    return;
  }
  watch(output_);
  watch(error_);
  if (timeout > Duration::zero()) {
    deadline_.start(timeout, [this] {
      has_timed_out_ = true;
      kill();
    });
  }
}

Result<void> CommandRun::launch(SpawnPlan& plan, const std::string& input) {
  auto output = make_pipe();
  auto error = make_pipe();
  auto standard_input = make_input(input);
  if (!output) return fail(output.error());
  if (!error) return fail(error.error());
  if (!standard_input) return fail(standard_input.error());
  if (auto made = cgroups_.create(leaf_, {}); !made) return made;
  auto entry = cgroups_.entry(leaf_);
  if (!entry) return fail(entry.error());
  plan.cgroup = &*entry;
  plan.standard_input = standard_input->get();
  plan.standard_output = output->write_end.get();
  plan.standard_error = error->write_end.get();
  ProcessEvents events;
  events.on_started = [this](std::optional<SpawnFailure> failure, const std::string& text) {
    if (failure) spawn_error_ = text;
  };
  events.on_exit = [this](int wait_status) { on_exit(wait_status); };
  auto started = processes_.start(plan, name_, 0, leaf_, std::move(events));
  if (!started) {
    cgroups_.remove(leaf_);
    return fail(started.error());
  }
  process_ = *started;
  output_.fd = std::move(output->read_end);
  error_.fd = std::move(error->read_end);
  return {};
}

void CommandRun::watch(Output& output) {
  static_cast<void>(set_nonblocking(output.fd.get(), true));
  output.poll.emplace(loop_, output.fd.get());
  output.poll->start(kReadable, [this, &output](int, int) { read_output(output); });
}

// Beyond the bound output is read and thrown away, so that the process never blocks on it.
void CommandRun::read_output(Output& output) {
  char buffer[16384];
  for (;;) {
    const ssize_t count = ::read(output.fd.get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
      output.poll.reset();
      return;
    }
    const auto room = kOutputBytesMax - output.text.size();
    output.text.append(buffer, std::min(static_cast<std::size_t>(count), room));
  }
}

void CommandRun::on_exit(int wait_status) {
  if (output_.poll) read_output(output_);
  if (error_.poll) read_output(error_);
  output_.poll.reset();
  error_.poll.reset();
  deadline_.stop();
  if (!cgroups_.is_empty(leaf_)) kill();  // what it left behind
  processes_.acknowledge(*process_);
  process_.reset();
  cgroups_.remove(leaf_);
  CommandResult result;
  result.wait_status = wait_status;
  finish(std::move(result));
}

void CommandRun::kill() {
  cgroups_.kill(leaf_);
  if (process_ && !processes_.send_group_signal(*process_, SIGKILL)) {
    processes_.send_signal(*process_, SIGKILL);
  }
}

void CommandRun::finish(CommandResult result) {
  result.has_timed_out = has_timed_out_;
  result.spawn_error = std::move(spawn_error_);
  result.standard_output = std::move(output_.text);
  result.standard_error = std::move(error_.text);
  const auto on_done = std::move(on_done_);
  on_done(std::move(result));  // may destroy this
}

}  // namespace pillion::supervisor::host
