// The attributes of one netlink message, or of one nest in it, by type. A view: valid as long as
// the message's buffer.
#pragma once

#include <libmnl/libmnl.h>

#include <array>
#include <cstddef>

namespace pillion::netns {

// Types of Count and above are skipped; absent ones are null.
template<std::size_t Count>
class Attributes {
 public:
  // Those after a header of `header_bytes`.
  Attributes(const nlmsghdr* message, unsigned header_bytes) {
    mnl_attr_parse(message, header_bytes, keep, this);
  }
  // Those inside a nest; none when it is null.
  explicit Attributes(const nlattr* nest) {
    if (nest) mnl_attr_parse_nested(nest, keep, this);
  }

  const nlattr* operator[](std::size_t type) const { return by_type_[type]; }

 private:
  static int keep(const nlattr* attribute, void* self) {
    const std::size_t type = mnl_attr_get_type(attribute);
    if (type < Count) static_cast<Attributes*>(self)->by_type_[type] = attribute;
    return MNL_CB_OK;
  }

  std::array<const nlattr*, Count> by_type_{};
};

}  // namespace pillion::netns
