#include "adapters/logs/output/kafka_library.h"

#include <dlfcn.h>

namespace pillion::logs {
namespace {

constexpr const char* kFile = "librdkafka.so.1";

template<class Function>
bool find(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

bool find_all(void* library, KafkaLibrary& k) {
  return find(library, "rd_kafka_conf_new", k.conf_new) &&
         find(library, "rd_kafka_conf_destroy", k.conf_destroy) &&
         find(library, "rd_kafka_conf_set", k.conf_set) &&
         find(library, "rd_kafka_conf_set_opaque", k.conf_set_opaque) &&
         find(library, "rd_kafka_conf_set_dr_msg_cb", k.conf_set_dr_msg_cb) &&
         find(library, "rd_kafka_conf_set_error_cb", k.conf_set_error_cb) &&
         find(library, "rd_kafka_conf_set_log_cb", k.conf_set_log_cb) &&
         find(library, "rd_kafka_new", k.create) && find(library, "rd_kafka_destroy", k.destroy) &&
         find(library, "rd_kafka_produceva", k.produceva) &&
         find(library, "rd_kafka_error_code", k.error_code) &&
         find(library, "rd_kafka_error_destroy", k.error_destroy) &&
         find(library, "rd_kafka_poll", k.poll) && find(library, "rd_kafka_purge", k.purge) &&
         find(library, "rd_kafka_fatal_error", k.fatal_error) &&
         find(library, "rd_kafka_err2str", k.err2str) &&
         find(library, "rd_kafka_queue_get_main", k.queue_get_main) &&
         find(library, "rd_kafka_queue_destroy", k.queue_destroy) &&
         find(library, "rd_kafka_queue_io_event_enable", k.queue_io_event_enable);
}

}  // namespace

Result<const KafkaLibrary*> KafkaLibrary::load() {
  static KafkaLibrary functions;
  static bool is_loaded = false;
  if (is_loaded) return &functions;
  void* const library = ::dlopen(kFile, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return fail(std::string("cannot load ") + kFile + " (" + ::dlerror() +
                "); install the package librdkafka1");
  }
  if (!find_all(library, functions)) {
    return fail(std::string(kFile) + " is too old: version 1.7 or newer is needed");
  }
  is_loaded = true;
  return &functions;
}

}  // namespace pillion::logs
