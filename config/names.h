// How the values of an enumeration are spelled in the file. One table per enumeration, beside its
// declaration; parsing, rendering and the reference page all read it.
#pragma once

#include <span>
#include <string_view>
#include <utility>

namespace pillion::config {

template<class E>
struct EnumName {
  E value;
  std::string_view name;
};

// Specialised per enumeration: `static constexpr EnumName<E> table[] = {{E::A, "a"}, …};`
template<class E>
struct EnumNames;

template<class E>
constexpr std::span<const EnumName<E>> names_of() {
  return EnumNames<E>::table;
}

// The spelling of `value`; every value of every enumeration has one.
template<class E>
constexpr std::string_view name_of(E value) {
  for (const auto& entry : EnumNames<E>::table) {
    if (entry.value == value) return entry.name;
  }
  return {};
}

}  // namespace pillion::config

// Inside namespace pillion::config: PILLION_NAMES(Color, {Color::Red, "red"}, {Color::Blue,
// "blue"}); A macro because a specialisation per enumeration is four lines that say nothing.
#define PILLION_NAMES(E, ...)                             \
  template<>                                              \
  struct EnumNames<E> {                                   \
    static constexpr EnumName<E> table[] = {__VA_ARGS__}; \
  }
