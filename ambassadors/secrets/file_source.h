// Secrets from local files: no server needed. Looks at each file a few times a second and reads it
// again when it changed (also when it was replaced through a symbolic link, as kubelet does).
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ambassadors/secrets/file_write.h"
#include "ambassadors/secrets/secret_data.h"
#include "runtime/loop.h"
#include "runtime/result.h"

namespace pillion::secrets {

// Every byte as `whole` and, when the text can be read as fields (field_text.h), those too.
Result<SecretData> read_secret_file(const std::string& path, bool with_fields);

class FileSource {
 public:
  struct Callbacks {
    // False asks to be called again although the file did not change.
    std::function<bool(const SecretId&, const SecretData&)> on_data;
    std::function<void(const SecretId&, const Error&)> on_failure;
  };

  FileSource(Loop& loop, Callbacks callbacks);
  // The absolute paths to read, and whether each is read by field. Reads them from the loop, never
  // before this returns.
  void apply(std::map<std::string, bool> with_fields_of_path);
  // Delivers every file once more, changed or not.
  void read_again();

 private:
  struct Watch {
    bool with_fields = false;
    std::optional<FileStamp> seen;   // at the last look
    std::optional<FileStamp> tried;  // when it was last read, or found missing
    bool is_new = true;
    bool is_delivered = false;  // what was read last was used
    unsigned looks_until_retry = 0;
  };

  void look_at_all();
  void look_at(const std::string& path, Watch& watch);
  void read(const std::string& path, Watch& watch);

  Callbacks callbacks_;
  std::map<std::string, Watch> watches_;
  Timer timer_;
};

}  // namespace pillion::secrets
