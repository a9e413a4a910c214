#include "supervisor/host/resize_api.h"

#include <fmt/format.h>

#include "supervisor/host/request_body.h"

namespace pillion::supervisor::host {
namespace {

using Json = nlohmann::ordered_json;

std::string list_children(const config::Service& service) {
  std::string names;
  for (const config::Child& child : service.children) {
    names += (names.empty() ? "" : ", ") + child.name;
  }
  return names;
}

bool is_set(const nlohmann::json& body, const char* key) {
  const auto found = body.find(key);
  return found != body.end() && found->is_boolean() && found->get<bool>();
}

// {"limits":{"memory":"512MiB"},"requests":{"cpu":null}} → "limits.memory", "requests.cpu"; null is
// "none".
Result<LimitChanges> read_changes(const nlohmann::json& body) {
  LimitChanges changes;
  for (const char* table : {"limits", "requests"}) {
    const auto found = body.find(table);
    if (found == body.end()) continue;
    if (!found->is_object()) return fail(fmt::format("`{}` is not an object", table));
    for (const auto& [key, value] : found->items()) {
      std::string& text = changes[fmt::format("{}.{}", table, key)];
      if (value.is_null()) {
        text = "none";
      } else {
        text = value.is_string() ? value.get<std::string>() : value.dump();
      }
    }
  }
  return changes;
}

// Every key that can be changed: what holds now, and what the file says when that differs.
Json describe(const Resources& resources, const config::Child& child) {
  const config::Child now = resources.effective(child);
  Json json = {{"child", child.name}};
  for (const std::string& key : resizable_keys()) {
    const std::string value = value_of(now, key);
    const std::string in_file = value_of(child, key);
    if (value == "none" && in_file == "none") continue;
    json["now"][key] = value;
    if (value != in_file) json["file"][key] = in_file;
  }
  return json;
}

}  // namespace

ResizeApi::ResizeApi(control::Api& api, Resources& resources) : resources_(resources) {
  api.add("POST", "/v1/children/{child}/resize",
          [this](const control::ApiRequest& request, control::Responder reply) {
            resize(request, reply);
          });
}

void ResizeApi::resize(const control::ApiRequest& request, const control::Responder& reply) {
  const auto body = parse_body(request);
  if (!body) return reply.error(400, body.error().message());
  const config::Service& service = resources_.service();
  const config::Child* child = service.find(request.parameter("child"));
  if (child == nullptr) {
    return reply.error(404, fmt::format("{} has no child \"{}\"; there are: {}", service.name(),
                                        request.parameter("child"), list_children(service)));
  }
  const auto changes = read_changes(*body);
  if (!changes) return reply.error(400, changes.error().message());
  const bool is_reset = is_set(*body, "reset");
  if (is_reset && !changes->empty()) {
    return reply.error(400, "`reset` goes back to the file; it takes no limits beside it");
  }
  // Without either, the answer tells how things are.
  Result<void> done;
  if (is_reset) done = resources_.reset(*child);
  if (!changes->empty()) done = resources_.resize(*child, *changes, is_set(*body, "force"));
  if (!done) {
    return reply.error(done.error().errno_value() == EINVAL ? 400 : 409, done.error().message());
  }
  reply.json(200, describe(resources_, *child).dump());
}

}  // namespace pillion::supervisor::host
