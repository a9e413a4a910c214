// Declares the schema of a struct, one line per key:
//
//   TableBuilder<TcpAction>("TCP action", "…").field("port", &TcpAction::port, "…").done();
#pragma once

#include <utility>

#include "config/codec.h"
#include "config/parse_units.h"
#include "config/schema.h"
#include "config/text_forms.h"

namespace pillion::config {

template<class T>
struct IsOptional : std::false_type {};
template<class T>
struct IsOptional<std::optional<T>> : std::true_type {};

template<class T>
class TableBuilder {
 public:
  TableBuilder(std::string_view title, std::string_view doc) {
    schema_.title = title;
    schema_.doc = doc;
    schema_.make_default = [] { return std::make_shared<T>(); };
  }

  template<class M>
  TableBuilder&& field(std::string_view key, M T::*member, std::string_view doc,
                       Rules rules = {}) && {
    Field field{key, doc, rules, Codec<M>::type(rules), {}, {}};
    field.read = [=](Reader& reader, const Node& node, void* object) {
      Codec<M>::read(reader, node, key, rules, static_cast<T*>(object)->*member);
    };
    field.write = [=](const void* object) -> std::optional<Node> {
      const M& value = static_cast<const T*>(object)->*member;
      if constexpr (IsOptional<M>::value) {
        if (!value) return std::nullopt;
        return Codec<typename M::value_type>::write(*value);
      } else {
        return Codec<M>::write(value);
      }
    };
    schema_.fields.push_back(std::move(field));
    return std::move(*this);
  }

  // A table of tables whose keys become the elements' `name`: [key.NAME]. File order.
  template<class E>
  TableBuilder&& named(std::string_view key, std::vector<E> T::*member, std::string_view doc) && {
    Field field{key, doc, {}, {}, {}, {}};
    field.type.kind = Type::Kind::NamedTables;
    field.type.name = "tables by name";
    field.type.table = &schema_of<E>;
    field.read = [=](Reader& reader, const Node& node, void* object) {
      read_named(reader, node, key, static_cast<T*>(object)->*member);
    };
    field.write = [=](const void* object) -> std::optional<Node> {
      Node table = Node::table();
      for (const E& element : static_cast<const T*>(object)->*member) {
        table.add(element.name, write_table(schema_of<E>(), &element));
      }
      if (table.entries.empty()) return std::nullopt;
      return table;
    };
    schema_.fields.push_back(std::move(field));
    return std::move(*this);
  }

  // A key that is read and written in its own way.
  TableBuilder&& custom(Field field) && {
    schema_.fields.push_back(std::move(field));
    return std::move(*this);
  }

  TableBuilder&& exactly_one(std::vector<std::string_view> keys) && {
    schema_.choices.push_back({std::move(keys), true});
    return std::move(*this);
  }
  TableBuilder&& at_most_one(std::vector<std::string_view> keys) && {
    schema_.choices.push_back({std::move(keys), false});
    return std::move(*this);
  }

  // `check` is void(Reader&, const Node&, T&).
  template<class Check>
  TableBuilder&& finish(Check check) && {
    schema_.finish = [check](Reader& reader, const Node& node, void* object) {
      check(reader, node, *static_cast<T*>(object));
    };
    return std::move(*this);
  }

  TableSchema done() && { return std::move(schema_); }

 private:
  template<class E>
  static void read_named(Reader& reader, const Node& node, std::string_view key,
                         std::vector<E>& out) {
    if (node.kind != Node::Kind::Table) {
      report_kind(reader, node, key, "a table of tables, [" + std::string(key) + ".NAME]");
      return;
    }
    for (const Entry& entry : node.entries) {
      check_table_name(reader, entry, key);
      const Reader::Scope scope(reader, entry.key);
      E element{};
      element.name = entry.key;
      read_table(schema_of<E>(), reader, entry.value, &element);
      out.push_back(std::move(element));
    }
  }

  TableSchema schema_;
};

}  // namespace pillion::config
