#include "adapters/metrics/poll/asker.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>

#include "runtime/fd.h"

namespace pillion::metrics {
namespace {

constexpr std::size_t kParsedOnLoopMax = 64u << 10;  // bytes; longer ones would hold up datagrams
constexpr auto kEndWait = std::chrono::milliseconds(200);

// ---- HTTP

class HttpAsker final : public Asker {
 public:
  HttpAsker(Loop& loop, HttpClient& client, HttpQuestion question)
      : loop_(loop),
        client_(client),
        question_(std::make_shared<HttpQuestion>(std::move(question))),
        is_alive_(std::make_shared<bool>(true)) {}
  ~HttpAsker() override { *is_alive_ = false; }

  void ask(std::chrono::milliseconds timeout, OnAnswer on_answer) override {
    on_answer_ = std::move(on_answer);
    auto request = question_->request();
    if (!request) {
      loop_.defer([this, is_alive = is_alive_, error = request.error()] {
        if (*is_alive) answer(fail(error));
      });
      return;
    }
    request->connect_timeout = std::min(request->connect_timeout, timeout);
    request->total_timeout = timeout;
    exchange_ = client_.send(std::move(*request), [this](Result<HttpClient::Response> response) {
      on_response(std::move(response));
    });
  }

 private:
  void on_response(Result<HttpClient::Response> response) {
    if (!response) return answer(fail(response.error()));
    if (response->status != 200) {
      return answer(fail("the server answers " + std::to_string(response->status)));
    }
    if (response->body.size() <= kParsedOnLoopMax) return answer(question_->parse(response->body));
    auto body = std::make_shared<std::string>(std::move(response->body));
    auto parsed = std::make_shared<std::optional<Result<Families>>>();
    loop_.queue_work(
        [question = question_, body, parsed] { parsed->emplace(question->parse(*body)); },
        [this, is_alive = is_alive_, parsed] {
          if (*is_alive) answer(std::move(**parsed));
        });
  }

  void answer(Result<Families> result) {
    const OnAnswer on_answer = std::move(on_answer_);
    on_answer_ = nullptr;
    if (on_answer) on_answer(std::move(result));
  }

  Loop& loop_;
  HttpClient& client_;
  std::shared_ptr<HttpQuestion> question_;  // shared with work on the pool, which may end after us
  OnAnswer on_answer_;
  HttpClient::Exchange exchange_;
  std::shared_ptr<bool> is_alive_;
};

// ---- A thread

// Shared by the asker and its thread; the thread may outlive the asker when a call does not end.
struct Desk {
  std::mutex mutex;
  std::condition_variable change;
  Fd cancel;
  std::optional<std::chrono::milliseconds> question;  // its timeout
  std::optional<Result<Families>> answer;
  Wakeup* wakeup = nullptr;  // null once the asker is gone
  bool is_ended = false;
};

void work_at(const std::shared_ptr<Desk>& desk, const BlockingWork& work) {
  std::unique_lock lock(desk->mutex);
  for (;;) {
    desk->change.wait(lock, [&] { return desk->question || desk->wakeup == nullptr; });
    if (desk->wakeup == nullptr) break;
    const auto timeout = *desk->question;
    desk->question.reset();
    lock.unlock();
    Deadline deadline{std::chrono::steady_clock::now() + timeout, desk->cancel.get()};
    auto result = work(deadline);
    lock.lock();
    if (desk->wakeup == nullptr) break;
    desk->answer = std::move(result);
    desk->wakeup->send();
  }
  desk->is_ended = true;
  desk->change.notify_all();
}

class BlockingAsker final : public Asker {
 public:
  BlockingAsker(Loop& loop, BlockingWork work)
      : desk_(std::make_shared<Desk>()), wakeup_(loop, [this] { on_wakeup(); }) {
    desk_->cancel.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    desk_->wakeup = &wakeup_;
    thread_ = std::thread([desk = desk_, work = std::move(work)] { work_at(desk, work); });
  }
  ~BlockingAsker() override {
    std::unique_lock lock(desk_->mutex);
    desk_->wakeup = nullptr;
    const std::uint64_t one = 1;
    static_cast<void>(!::write(desk_->cancel.get(), &one, sizeof one));
    desk_->change.notify_all();
    const bool is_ended = desk_->change.wait_for(lock, kEndWait, [&] { return desk_->is_ended; });
    lock.unlock();
    if (is_ended) {
      thread_.join();
    } else {
      thread_.detach();  // in a name look-up, which nothing interrupts
    }
  }

  void ask(std::chrono::milliseconds timeout, OnAnswer on_answer) override {
    on_answer_ = std::move(on_answer);
    const std::lock_guard lock(desk_->mutex);
    desk_->question = timeout;
    desk_->change.notify_all();
  }

 private:
  void on_wakeup() {
    std::optional<Result<Families>> answer;
    {
      const std::lock_guard lock(desk_->mutex);
      answer.swap(desk_->answer);
    }
    if (!answer || !on_answer_) return;
    const OnAnswer on_answer = std::move(on_answer_);
    on_answer_ = nullptr;
    on_answer(std::move(*answer));
  }

  std::shared_ptr<Desk> desk_;
  Wakeup wakeup_;
  std::thread thread_;
  OnAnswer on_answer_;
};

}  // namespace

int Deadline::left_ms() const {
  using std::chrono::milliseconds;
  const auto left = std::chrono::ceil<milliseconds>(at - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<long long>(left.count(), 0, 1'000'000'000));
}

Result<void> wait_for(int fd, short events, const Deadline& deadline) {
  for (;;) {
    const int left = deadline.left_ms();
    if (left == 0) return fail(Error("no answer in time", ETIMEDOUT));
    pollfd fds[2] = {{fd, events, 0}, {deadline.cancel_fd, POLLIN, 0}};
    const int count = ::poll(fds, 2, left);
    if (count < 0 && errno != EINTR) return fail_errno("cannot wait");
    if (count > 0 && fds[1].revents != 0) return fail(Error("given up", ECANCELED));
    if (count > 0 && fds[0].revents != 0) return {};
  }
}

std::unique_ptr<Asker> make_blocking_asker(Loop& loop, BlockingWork work) {
  return std::make_unique<BlockingAsker>(loop, std::move(work));
}

std::unique_ptr<Asker> make_http_asker(Loop& loop, HttpClient& client, HttpQuestion question) {
  return std::make_unique<HttpAsker>(loop, client, std::move(question));
}

}  // namespace pillion::metrics
