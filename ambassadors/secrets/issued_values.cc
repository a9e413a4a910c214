#include "ambassadors/secrets/issued_values.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <nlohmann/json.hpp>

#include "runtime/fd.h"
#include "runtime/file_replacement.h"
#include "runtime/log.h"
#include "runtime/text_codes.h"

namespace pillion::secrets {
namespace {

constexpr std::int64_t kKeptSeconds = 7 * 24 * 3600;
constexpr std::size_t kValuesMax = 8192;
constexpr std::size_t kLineBytesMin = 16;
constexpr std::size_t kLinesMax = 256;  // of one value
constexpr std::size_t kAnswerBytesMax = 1u << 20;
constexpr std::size_t kFileBytesMax = 4u << 20;

void add_spellings(std::string_view value, std::vector<std::string>& out) {
  if (value.size() < kFingerprintBytesMin) return;
  out.emplace_back(value);
  if (std::string encoded = percent_encoded(value); encoded != value) {
    out.push_back(std::move(encoded));
  }
  if (std::string encoded = base64(value.substr(0, value.size() / 3 * 3));
      encoded.size() >= kLineBytesMin) {
    out.push_back(std::move(encoded));
  }
}

std::string_view without_quotes(std::string_view text) {
  const bool is_quoted = text.size() >= 2 && text.front() == text.back() &&
                         (text.front() == '"' || text.front() == '\'');
  return is_quoted ? text.substr(1, text.size() - 2) : text;
}

void add_line(std::string_view line, std::vector<std::string>& out) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  if (line.starts_with("-----")) return;  // PEM's frame, which is no secret
  const std::size_t equals = line.find('=');
  if (equals != std::string_view::npos && equals > 0) {
    const bool is_name = std::all_of(line.begin(), line.begin() + static_cast<long>(equals),
                                     [](unsigned char c) { return std::isalnum(c) || c == '_'; });
    // Not the padding of base64.
    if (is_name && equals + 2 < line.size()) {
      add_spellings(without_quotes(line.substr(equals + 1)), out);
      return;
    }
  }
  if (line.size() >= kLineBytesMin) out.emplace_back(line);
}

void add_strings(const nlohmann::json& value, std::vector<std::string>& out) {
  if (value.is_string()) {
    const auto spellings = spellings_of(value.get_ref<const std::string&>());
    out.insert(out.end(), spellings.begin(), spellings.end());
  }
  if (!value.is_structured()) return;
  for (const auto& [name, member] : value.items()) {
    if (name != "keys") add_strings(member, out);  // names of secrets, in the answer to a LIST
  }
}

void wipe_all(std::vector<std::string>& texts) {
  for (std::string& text : texts) wipe(text);
}

}  // namespace

std::vector<std::string> spellings_of(std::string_view value) {
  while (value.ends_with('\n') || value.ends_with('\r')) value.remove_suffix(1);
  std::vector<std::string> out;
  add_spellings(value, out);
  const bool has_lines = value.find('\n') != std::string_view::npos;
  const bool is_assignment = !has_lines && value.find('=') != std::string_view::npos;
  if (!has_lines && !is_assignment) return out;
  std::string_view rest = value;
  for (std::size_t line = 0; line < kLinesMax && !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    add_line(rest.substr(0, end), out);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return out;
}

std::vector<std::string> values_in_answer(std::string_view path, std::string_view body) {
  std::vector<std::string> out;
  if (body.size() > kAnswerBytesMax) return out;
  const auto answer = nlohmann::json::parse(body, nullptr, false);
  if (!answer.is_object()) return out;
  const auto token = [&](const char* object, const char* name) {
    const auto found = answer.find(object);
    if (found == answer.end() || !found->is_object()) return;
    const auto member = found->find(name);
    if (member != found->end()) add_strings(*member, out);
  };
  token("auth", "client_token");
  token("wrap_info", "token");
  const auto data = answer.find("data");
  const bool is_about_vault = path.find("/v1/sys/") != std::string_view::npos ||
                              path.find("/v1/auth/") != std::string_view::npos;
  if (is_about_vault || data == answer.end() || !data->is_object()) return out;
  const auto inner = data->find("data");
  const bool is_versioned =
      inner != data->end() && inner->is_object() && data->contains("metadata");
  add_strings(is_versioned ? *inner : *data, out);
  return out;
}

IssuedValues::IssuedValues(const Clock& clock, std::string path)
    : clock_(clock), path_(std::move(path)) {
  if (!is_on()) return;
  key_ = FingerprintKey::random();
  take_over();
  is_changed_ = true;
  write();  // the reader sees at once whether it may read
}

void IssuedValues::take_over() {
  const auto text = read_file(path_, kFileBytesMax);
  if (!text) {
    if (text.error().errno_value() != ENOENT) log::warn("{}", text.error().message());
    return;
  }
  auto file = parse_fingerprints(*text);
  if (!file) {
    log::warn("{}: {}; what was issued before is not known any more", path_,
              file.error().message());
    return;
  }
  key_ = std::move(file->key);
  for (Fingerprint& value : file->values) {
    if (value.retired_at == 0) value.retired_at = now();  // until it is issued again
    const std::string digest = value.digest;
    values_[digest] = std::move(value);
  }
}

std::int64_t IssuedValues::now() const {
  return std::chrono::duration_cast<std::chrono::seconds>(clock_.wall_now().time_since_epoch())
      .count();
}

std::set<std::string> IssuedValues::add(const std::vector<std::string>& spellings) {
  std::set<std::string> digests;
  for (const std::string& text : spellings) {
    Fingerprint value = fingerprint_of(key_, text);
    digests.insert(value.digest);
    const std::string digest = value.digest;
    is_changed_ = values_.try_emplace(digest, std::move(value)).second || is_changed_;
  }
  return digests;
}

void IssuedValues::issue(const std::string& place, const SecretText& value) {
  if (!is_on()) return;
  std::vector<std::string> spellings = spellings_of(value.reveal());
  auto digests = add(spellings);
  wipe_all(spellings);
  auto& current = current_[place];
  for (const std::string& digest : digests) values_[digest].retired_at = 0;
  const auto before = std::exchange(current, std::move(digests));
  for (const std::string& digest : before) {
    const bool is_used = std::any_of(current_.begin(), current_.end(), [&](const auto& entry) {
      return entry.second.contains(digest);
    });
    const auto found = values_.find(digest);
    if (is_used || found == values_.end()) continue;
    found->second.retired_at = now();
    is_changed_ = true;
  }
  write();
}

void IssuedValues::issue_to_app(std::string_view path, std::string_view body) {
  if (!is_on()) return;
  std::vector<std::string> texts = values_in_answer(path, body);
  for (const std::string& digest : add(texts)) {
    Fingerprint& value = values_[digest];
    const bool is_in_file = std::any_of(current_.begin(), current_.end(), [&](const auto& entry) {
      return entry.second.contains(digest);
    });
    if (!is_in_file) value.retired_at = now();
  }
  wipe_all(texts);
  write();
}

void IssuedValues::forget_old() {
  std::erase_if(values_, [&](const auto& entry) {
    return entry.second.retired_at != 0 && entry.second.retired_at + kKeptSeconds < now();
  });
  while (values_.size() > kValuesMax) {
    const auto age = [](const auto& entry) {
      return entry.second.retired_at == 0 ? INT64_MAX : entry.second.retired_at;
    };
    const auto oldest =
        std::min_element(values_.begin(), values_.end(),
                         [&](const auto& a, const auto& b) { return age(a) < age(b); });
    values_.erase(oldest);
  }
}

void IssuedValues::write() {
  if (!is_changed_) return;
  forget_old();
  FingerprintFile file{key_, {}};
  for (const auto& [digest, value] : values_) file.values.push_back(value);
  const auto written = replace_file(path_, render_fingerprints(file), 0640, Survives::ProcessCrash);
  is_changed_ = !written;
  if (!written && !has_failed_) {
    log::error("{}: logs are not kept free of secrets issued from now on",
               written.error().message());
  }
  has_failed_ = !written;
}

}  // namespace pillion::secrets
