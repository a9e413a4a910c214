#include "adapters/metrics/formats/json_fields.h"

#include <algorithm>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "adapters/metrics/model/name_glob.h"
#include "adapters/metrics/model/number_text.h"

namespace pillion::metrics {
namespace {

using nlohmann::json;

constexpr int kDepthMax = 32;  // of documents whose every number is taken

// A pointer's parts, unescaped.
std::vector<std::string> split_pointer(std::string_view pointer) {
  std::vector<std::string> parts;
  while (pointer.starts_with('/')) {
    pointer.remove_prefix(1);
    const auto end = std::min(pointer.find('/'), pointer.size());
    std::string part;
    for (std::size_t i = 0; i < end; ++i) {
      if (pointer[i] == '~' && i + 1 < end && (pointer[i + 1] == '0' || pointer[i + 1] == '1')) {
        part += pointer[++i] == '0' ? '~' : '/';
      } else {
        part += pointer[i];
      }
    }
    parts.push_back(std::move(part));
    pointer.remove_prefix(end);
  }
  return parts;
}

const json* child_of(const json& value, const std::string& part) {
  if (value.is_object()) {
    const auto found = value.find(part);
    return found == value.end() ? nullptr : &*found;
  }
  if (!value.is_array()) return nullptr;
  const auto index = parse_number(part);
  const bool is_there = index && *index >= 0 && *index < static_cast<double>(value.size());
  return is_there ? &value[static_cast<std::size_t>(*index)] : nullptr;
}

const json* find(const json& value, std::string_view pointer) {
  const json* at = &value;
  for (const std::string& part : split_pointer(pointer)) {
    at = child_of(*at, part);
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::string text_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_null() || value.is_structured()) return "";
  return value.dump();
}

std::optional<double> number_of(const json& value) {
  if (value.is_number()) return value.get<double>();
  if (value.is_boolean()) return value.get<bool>() ? 1 : 0;
  if (value.is_string()) return parse_number(value.get_ref<const std::string&>());
  return std::nullopt;
}

// One rule's walk through a document.
class Walk {
 public:
  Walk(const config::JsonMetric& rule, const json& top, Families& out)
      : rule_(rule), top_(top), out_(out), parts_(split_pointer(rule.path)) {}

  void run() { step(top_, top_, 0); }

 private:
  // `element` is what the last `*` matched.
  void step(const json& value, const json& element, std::size_t depth) {
    if (depth == parts_.size()) {
      take(value, element);
      return;
    }
    if (parts_[depth] != "*") {
      if (const json* const child = child_of(value, parts_[depth])) {
        step(*child, element, depth + 1);
      }
      return;
    }
    if (!value.is_structured()) return;
    for (const auto& item : value.items()) {
      keys_.push_back(item.key());
      step(item.value(), item.value(), depth + 1);
      keys_.pop_back();
    }
  }

  void take(const json& value, const json& element) {
    std::optional<double> number;
    const auto named = rule_.values.find(text_of(value));
    if (!rule_.values.empty() && named != rule_.values.end()) {
      number = named->second;
    } else {
      number = number_of(value);
    }
    if (!number) return;
    Labels labels;
    const std::vector<std::string_view> captures(keys_.begin(), keys_.end());
    for (const auto& [name, source] : rule_.labels) {
      if (source.starts_with("./") || source.starts_with('/')) {
        const bool is_relative = source.front() == '.';
        const json* const found = find(is_relative ? element : top_,
                                       std::string_view(source).substr(is_relative ? 1 : 0));
        if (found != nullptr) labels.emplace_back(name, text_of(*found));
      } else {
        labels.emplace_back(name, expand_captures(source, captures));
      }
    }
    const Kind kind = rule_.type == config::ValueType::Counter ? Kind::Counter : Kind::Gauge;
    Family& family = out_.family(rule_.name, kind, rule_.help, rule_.unit);
    family.series.push_back({std::move(labels), *number * rule_.scale, nullptr, 0});
  }

  const config::JsonMetric& rule_;
  const json& top_;
  Families& out_;
  const std::vector<std::string> parts_;
  std::vector<std::string> keys_;
};

// Every number: names are the keys on the way, elements of lists are told apart by label `index`.
void flatten(const json& value, const std::string& name, const Labels& labels, Families& out,
             int depth) {
  if (depth > kDepthMax) return;
  if (value.is_object()) {
    for (const auto& item : value.items()) {
      const std::string key = snake_case(item.key());
      flatten(item.value(), name.empty() ? key : name + "_" + key, labels, out, depth + 1);
    }
  } else if (value.is_array()) {
    for (std::size_t i = 0; i < value.size(); ++i) {
      Labels with_index = labels;
      const auto old = std::find_if(with_index.begin(), with_index.end(),
                                    [](const auto& label) { return label.first == "index"; });
      if (old != with_index.end()) {
        old->second += "." + std::to_string(i);
      } else {
        with_index.emplace_back("index", std::to_string(i));
      }
      flatten(value[i], name, with_index, out, depth + 1);
    }
  } else if (value.is_number() || value.is_boolean()) {
    out.add(name.empty() ? "value" : name, Kind::Gauge, *number_of(value), labels);
  }
}

// ---- Jolokia

struct ObjectName {
  std::string domain;
  std::vector<std::pair<std::string, std::string>> properties;
};

// "java.lang:type=Memory,name=Eden Space"; values may be quoted (javax.management.ObjectName).
ObjectName split_object_name(std::string_view text) {
  ObjectName name;
  const auto colon = std::min(text.find(':'), text.size());
  name.domain = text.substr(0, colon);
  text.remove_prefix(std::min(colon + 1, text.size()));
  while (!text.empty()) {
    const auto equals = std::min(text.find('='), text.size());
    std::string key(text.substr(0, equals));
    text.remove_prefix(std::min(equals + 1, text.size()));
    std::string value;
    if (text.starts_with('"')) {
      std::size_t i = 1;
      for (; i < text.size() && text[i] != '"'; ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        value += text[i];
      }
      text.remove_prefix(std::min(i + 1, text.size()));
      text.remove_prefix(std::min(text.find(','), text.size()));
    } else {
      const auto end = std::min(text.find(','), text.size());
      value = text.substr(0, end);
      text.remove_prefix(end);
    }
    if (text.starts_with(',')) text.remove_prefix(1);
    name.properties.emplace_back(std::move(key), std::move(value));
  }
  return name;
}

class JolokiaReader {
 public:
  JolokiaReader(const config::JolokiaRead& rule, Families& out) : rule_(rule), out_(out) {}

  void read(const json& answer) {
    const auto value = answer.find("value");
    if (value == answer.end()) return;
    const bool is_pattern = rule_.mbean.find('*') != std::string::npos;
    if (!is_pattern) {
      read_bean(split_object_name(rule_.mbean), *value);
      return;
    }
    if (!value->is_object()) return;
    for (const auto& bean : value->items()) {
      read_bean(split_object_name(bean.key()), bean.value());
    }
  }

 private:
  void read_bean(const ObjectName& bean, const json& value) {
    std::string stem = rule_.name.value_or(snake_case(bean.domain));
    Labels labels;
    for (const auto& [key, text] : bean.properties) {
      if (key == "type" && !rule_.name) {
        stem += "_" + snake_case(text);
      } else {
        labels.emplace_back(label_name(snake_case(key)), text);
      }
    }
    // The value of one attribute of one bean comes bare.
    const bool is_bare = rule_.attributes.size() == 1 && rule_.mbean.find('*') == std::string::npos;
    if (is_bare && !rule_.name) stem += "_" + snake_case(rule_.attributes.front());
    take(value, stem, labels, 0);
  }

  // Composite values add their keys to the name.
  void take(const json& value, const std::string& name, const Labels& labels, int depth) {
    if (depth > kDepthMax) return;
    if (value.is_object()) {
      for (const auto& item : value.items()) {
        take(item.value(), name + "_" + snake_case(item.key()), labels, depth + 1);
      }
    } else if (value.is_number() || value.is_boolean()) {
      const Kind kind = rule_.type == config::ValueType::Counter ? Kind::Counter : Kind::Gauge;
      out_.add(name, kind, *number_of(value), labels, rule_.help);
    }
  }

  const config::JolokiaRead& rule_;
  Families& out_;
};

}  // namespace

std::string find_path_problem(const std::string& path) {
  if (!path.starts_with('/')) return "the path \"" + path + "\" does not begin with /";
  return "";
}

Result<Families> parse_json(std::string_view text, const config::JsonInput& config) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) return fail("the answer is no JSON");
  Families families;
  for (const auto& rule : config.metrics) Walk(rule, document, families).run();
  if (config.metrics.empty()) flatten(document, "", {}, families, 0);
  if (families.is_empty()) return fail("the answer holds none of the wanted numbers");
  return families;
}

std::string jolokia_request(const config::JolokiaInput& config) {
  json reads = json::array();
  for (const auto& rule : config.reads) {
    json read = {{"type", "read"}, {"mbean", rule.mbean}};
    if (rule.attributes.size() == 1) read["attribute"] = rule.attributes.front();
    if (rule.attributes.size() > 1) read["attribute"] = rule.attributes;
    if (rule.path) read["path"] = *rule.path;
    // Beans come and go, and some lack an attribute: neither spoils the others.
    read["config"] = {{"ignoreErrors", true}};
    reads.push_back(std::move(read));
  }
  return reads.dump();
}

Result<Families> parse_jolokia(std::string_view text, const config::JolokiaInput& config) {
  const json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) return fail("the answer is no JSON");
  if (document.is_object() && document.contains("error")) {
    return fail("Jolokia answers: " + clean_text(text_of(document["error"]).substr(0, 200)));
  }
  if (!document.is_array() || document.size() != config.reads.size()) {
    return fail("the answer is no list with one object per read");
  }
  Families families;
  std::string problem;
  for (std::size_t i = 0; i < document.size(); ++i) {
    const json& answer = document[i];
    const auto status = answer.is_object() ? answer.find("status") : answer.end();
    const bool is_good = answer.is_object() && status != answer.end() && status->is_number() &&
                         status->get<double>() == 200;
    if (is_good) {
      JolokiaReader(config.reads[i], families).read(answer);
    } else if (problem.empty()) {
      const bool has_words = answer.is_object() && answer.contains("error");
      problem = config.reads[i].mbean + ": " +
                (has_words ? clean_text(text_of(answer["error"]).substr(0, 200)) : "no status 200");
    }
  }
  if (families.is_empty()) {
    return fail(problem.empty() ? "the answer holds no number" : std::move(problem));
  }
  return families;
}

}  // namespace pillion::metrics
