#include "proxy/rules/json_value.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace pillion::proxy {
namespace {

using nlohmann::json;

constexpr std::size_t kDepthMax = 256;

// Follows the pointer through the parser's events. `matched_` counts how many of its parts the way
// from the root to the container under way has in common with it.
class Finder : public nlohmann::json_sax<json> {
 public:
  explicit Finder(const std::vector<std::string>& pointer) : pointer_(pointer) {}

  JsonValue take() { return std::move(value_); }

  bool null() override { return scalar("null"); }
  bool boolean(bool value) override { return scalar(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return scalar(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return scalar(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& text) override { return scalar(text); }
  bool string(string_t& text) override { return scalar(text); }
  bool binary(binary_t&) override { return false; }
  bool key(string_t& name) override {
    Container& container = containers_.back();
    container.is_next_wanted = container.is_on_way && name == pointer_[container.depth];
    if (!container.is_next_wanted) return true;
    if (container.has_found) is_ambiguous_ = true;
    container.has_found = true;
    return !is_ambiguous_;
  }
  bool start_object(std::size_t) override { return begin_container(false); }
  bool start_array(std::size_t) override { return begin_container(true); }
  bool end_object() override { return end_container(); }
  bool end_array() override { return end_container(); }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }
  bool is_ambiguous() const { return is_ambiguous_; }

 private:
  struct Container {
    std::size_t depth = 0;  // parts of the pointer that led here
    std::size_t index = 0;  // of the next element of an array
    bool is_array = false;
    bool is_on_way = false;       // the pointer leads through it
    bool is_next_wanted = false;  // the value that comes next is the one, or on the way to it
    bool has_found = false;
  };

  // Whether the value that begins now is what the pointer names so far; its depth then.
  std::pair<bool, std::size_t> place() {
    if (containers_.empty()) return {true, 0};
    Container& container = containers_.back();
    if (container.is_array) {
      container.is_next_wanted =
          container.is_on_way && pointer_[container.depth] == std::to_string(container.index);
      ++container.index;
    }
    return {container.is_next_wanted, container.depth + 1};
  }

  bool scalar(std::string_view text) {
    const auto [is_wanted, depth] = place();
    if (is_wanted && depth == pointer_.size())
      value_ = {JsonValue::Kind::Scalar, std::string(text)};
    return true;
  }

  bool begin_container(bool is_array) {
    if (containers_.size() == kDepthMax) return false;
    const auto [is_wanted, depth] = place();
    if (is_wanted && depth == pointer_.size()) value_ = {JsonValue::Kind::Composite, {}};
    Container container;
    container.depth = depth;
    container.is_array = is_array;
    container.is_on_way = is_wanted && depth < pointer_.size();
    containers_.push_back(container);
    return true;
  }

  bool end_container() {
    containers_.pop_back();
    return true;
  }

  const std::vector<std::string>& pointer_;
  std::vector<Container> containers_;
  JsonValue value_;
  bool is_ambiguous_ = false;
};

}  // namespace

std::vector<std::string> split_json_pointer(std::string_view pointer) {
  std::vector<std::string> parts;
  while (pointer.starts_with('/')) {
    pointer.remove_prefix(1);
    const std::string_view part = pointer.substr(0, pointer.find('/'));
    pointer.remove_prefix(part.size());
    std::string& text = parts.emplace_back();
    for (std::size_t i = 0; i < part.size(); ++i) {
      const bool is_escape = part[i] == '~' && i + 1 < part.size();
      text.push_back(!is_escape ? part[i] : part[i + 1] == '1' ? '/' : '~');
      if (is_escape) ++i;
    }
  }
  return parts;
}

JsonValue find_json_value(std::string_view document, const std::vector<std::string>& pointer) {
  Finder finder(pointer);
  const bool is_whole = json::sax_parse(document.begin(), document.end(), &finder);
  if (finder.is_ambiguous()) return {JsonValue::Kind::Ambiguous, {}};
  if (!is_whole) return {JsonValue::Kind::Malformed, {}};
  return finder.take();
}

}  // namespace pillion::proxy
