#include "ambassadors/secrets/vault_answer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ambassadors/secrets/json_fields.h"

namespace pillion::secrets {
namespace {

using nlohmann::json;

constexpr std::size_t kShownMax = 300;
constexpr std::int64_t kSecondsMax = std::int64_t{10} * 366 * 86'400;

// Parses and wipes the strings when it goes out of scope.
struct Document {
  explicit Document(const std::string& body) : root(parse_json(body)) {}
  ~Document() { wipe(root); }
  Document(const Document&) = delete;
  Document& operator=(const Document&) = delete;
  json root;
};

const json* find(const json& parent, const char* name) {
  if (!parent.is_object()) return nullptr;
  const auto found = parent.find(name);
  return found == parent.end() ? nullptr : &*found;
}

std::chrono::seconds seconds_of(const json& parent, const char* name) {
  const json* value = find(parent, name);
  if (!value || !value->is_number()) return std::chrono::seconds(0);
  const double number = value->get<double>();
  if (!(number > 0)) return std::chrono::seconds(0);
  return std::chrono::seconds(
      number < static_cast<double>(kSecondsMax) ? static_cast<std::int64_t>(number) : kSecondsMax);
}

bool bool_of(const json& parent, const char* name) {
  const json* value = find(parent, name);
  return value && value->is_boolean() && value->get<bool>();
}

std::string text_of(const json& parent, const char* name) {
  const json* value = find(parent, name);
  return value && value->is_string() ? value->get<std::string>() : std::string();
}

SecretText secret_of(json& parent, const char* name) {
  const auto found = parent.find(name);
  if (found == parent.end() || !found->is_string()) return {};
  return SecretText::take(found->get_ref<std::string&>());
}

std::string printable(std::string text) {
  if (text.size() > kShownMax) text = text.substr(0, kShownMax) + "…";
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == 0x7f) c = ' ';
  }
  return text;
}

std::string errors_of(const std::string& body) {
  const json root = parse_json(body);
  const json* errors = root.is_discarded() ? nullptr : find(root, "errors");
  std::string text;
  if (!errors || !errors->is_array()) return text;
  for (const auto& error : *errors) {
    if (error.is_string()) text += (text.empty() ? "" : "; ") + error.get<std::string>();
  }
  return printable(text);
}

Reaction on_refusal(Operation operation) {
  switch (operation) {
    case Operation::Login: return Reaction::BadCredential;
    case Operation::Renew:
    case Operation::Lookup: return Reaction::TokenDead;
    case Operation::Read: break;
  }
  return Reaction::DoubtToken;
}

}  // namespace

Reaction choose_reaction(Operation operation, int status) {
  if (status >= 200 && status < 300) return Reaction::Use;
  switch (status) {
    case 400:
      if (operation == Operation::Login) return Reaction::BadCredential;
      return operation == Operation::Renew ? Reaction::NotRenewable : Reaction::BackOff;
    case 401:
    case 403: return on_refusal(operation);
    case 404: return operation == Operation::Read ? Reaction::Missing : Reaction::BackOff;
    case 412: return Reaction::RetrySoon;
    case 429: return Reaction::Throttled;
    default: return Reaction::BackOff;
  }
}

std::string describe(const VaultAnswer& answer) {
  if (answer.status == 0) return answer.failure;
  std::string text = "Vault answered " + std::to_string(answer.status);
  if (answer.status >= 300 && answer.status < 400) {
    return text + " (a redirect is not followed: set `address` to the active server)";
  }
  const std::string errors = errors_of(answer.body.reveal());
  return errors.empty() ? text : text + ": " + errors;
}

Result<Token> parse_auth(const std::string& body) {
  Document document(body);
  if (document.root.is_discarded()) return fail("Vault's answer is not valid JSON");
  if (!find(document.root, "auth") || !document.root["auth"].is_object()) {
    return fail("Vault's answer holds no `auth`");
  }
  json& auth = document.root["auth"];
  Token token;
  token.text = secret_of(auth, "client_token");
  token.accessor = text_of(auth, "accessor");
  token.ttl = seconds_of(auth, "lease_duration");
  token.is_renewable = bool_of(auth, "renewable");
  return token;
}

Result<Token> parse_lookup(const std::string& body) {
  const Document document(body);
  if (document.root.is_discarded()) return fail("Vault's answer is not valid JSON");
  const json* data = find(document.root, "data");
  if (!data || !data->is_object()) return fail("Vault's answer holds no `data`");
  Token token;
  token.accessor = text_of(*data, "accessor");
  token.ttl = seconds_of(*data, "ttl");
  token.is_renewable = bool_of(*data, "renewable");
  return token;
}

Result<SecretData> parse_secret(const std::string& body) {
  Document document(body);
  if (document.root.is_discarded()) return fail("Vault's answer is not valid JSON");
  const json* data = find(document.root, "data");
  if (!data || !data->is_object()) return fail("Vault's answer holds no `data`");

  SecretData secret;
  const json* metadata = find(*data, "metadata");
  const json* inner = find(*data, "data");
  const json* version = metadata ? find(*metadata, "version") : nullptr;
  if (version && version->is_number_unsigned() && inner) {
    if (!inner->is_object()) return fail("the current version is deleted");
    secret.version = version->get<std::uint64_t>();
    secret.fields = take_fields(document.root["data"]["data"]);
    return secret;
  }
  const auto lease = seconds_of(document.root, "lease_duration");
  if (!text_of(document.root, "lease_id").empty() && lease.count() > 0) secret.lease = lease;
  secret.fields = take_fields(document.root["data"]);
  return secret;
}

std::string describe_deleted(const std::string& body) {
  const Document document(body);
  const json* data = document.root.is_discarded() ? nullptr : find(document.root, "data");
  const json* metadata = data ? find(*data, "metadata") : nullptr;
  if (!metadata) return {};
  const json* version = find(*metadata, "version");
  if (!version || !version->is_number_unsigned()) return {};
  const std::string name = "version " + std::to_string(version->get<std::uint64_t>());
  if (bool_of(*metadata, "destroyed")) return name + " was destroyed";
  const std::string time = text_of(*metadata, "deletion_time");
  return time.empty() ? std::string() : name + " was deleted at " + printable(time);
}

Result<SecretText> parse_data_member(const std::string& body, const std::string& name) {
  Document document(body);
  if (document.root.is_discarded()) return fail("Vault's answer is not valid JSON");
  const json* data = find(document.root, "data");
  if (!data || !data->is_object()) return fail("Vault's answer holds no `data`");
  SecretText text = secret_of(document.root["data"], name.c_str());
  if (text.is_empty()) return fail("Vault's answer holds no `data." + name + "`");
  return text;
}

}  // namespace pillion::secrets
