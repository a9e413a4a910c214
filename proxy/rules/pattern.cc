#define PCRE2_CODE_UNIT_WIDTH 8
#include "proxy/rules/pattern.h"

#include <fmt/format.h>
#include <pcre2.h>

namespace pillion::proxy {
namespace {

// A search over 10 MiB that walks once stays far below; one that backtracks without end is cut off
// after some hundred milliseconds.
constexpr std::uint32_t kMatchLimit = 20'000'000;
constexpr std::uint32_t kHeapLimitKibibytes = 16 * 1024;
constexpr std::size_t kJitStackFirst = 32 * 1024;
constexpr std::size_t kJitStackMax = 1024 * 1024;

// What a search needs; one per thread.
struct Workspace {
  Workspace()
      : data(pcre2_match_data_create(std::tuple_size_v<Captures>, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(kJitStackFirst, kJitStackMax, nullptr)) {
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKibibytes);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~Workspace() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

Workspace& workspace() {
  thread_local Workspace mine;
  return mine;
}

PCRE2_SPTR text_of(std::string_view text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

void Pattern::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

Result<Pattern> Pattern::compile(std::string_view expression) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(text_of(expression), expression.size(), 0, &error, &offset, nullptr);
  if (code == nullptr) {
    PCRE2_UCHAR message[128] = {};
    pcre2_get_error_message(error, message, sizeof message);
    return fail(fmt::format("the regular expression \"{}\" is malformed at character {}: {}",
                            expression, offset, reinterpret_cast<const char*>(message)));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it, it is interpreted
  return Pattern(code);
}

Pattern::Found Pattern::search(std::string_view text, Captures& captures) const {
  Workspace& work = workspace();
  const int count =
      pcre2_match(code_.get(), text_of(text), text.size(), 0, 0, work.data, work.context);
  if (count == PCRE2_ERROR_NOMATCH) return Found::No;
  if (count < 0) return Found::TooMuchWork;
  const PCRE2_SIZE* places = pcre2_get_ovector_pointer(work.data);
  // More groups than places: all of them are filled.
  const std::size_t set = count == 0 ? captures.size() : static_cast<std::size_t>(count);
  for (std::size_t i = 0; i < captures.size(); ++i) {
    captures[i].clear();
    if (i >= set || places[2 * i] == PCRE2_UNSET) continue;
    captures[i].assign(text.substr(places[2 * i], places[2 * i + 1] - places[2 * i]));
  }
  return Found::Yes;
}

}  // namespace pillion::proxy
