// Names made of records: "logs-%{service.name}", "orders/%Y/%m/%d/%{host.name}".
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "runtime/result.h"

namespace pillion::logs {

class RecordTemplate {
 public:
  // `%{field}` stands for the value of a top-level field. With `takes_time` the rest is of
  // strftime(3), for the record's @timestamp in UTC; else a lone % is a %.
  static Result<RecordTemplate> compile(std::string_view text, bool takes_time);

  // `%{id}` is `id`; a field that the record lacks is "none".
  std::string render(std::string_view record, std::string_view id) const;
  bool has_id() const;
  // Whether every record gives the same.
  bool is_constant() const;

 private:
  struct Part {
    std::string text;  // of strftime when the template takes the time; or a field's name
    bool is_field = false;
  };
  std::vector<Part> parts_;
  bool takes_time_ = false;
};

}  // namespace pillion::logs
