// librdkafka, loaded when an output asks for it: nobody else pays for it, and the program runs
// where it is not installed.
#pragma once

#include <librdkafka/rdkafka.h>

#include <string>

#include "runtime/result.h"

namespace pillion::logs {

// The functions that we call, by their names in rdkafka.h.
struct KafkaLibrary {
  decltype(&::rd_kafka_conf_new) conf_new;
  decltype(&::rd_kafka_conf_destroy) conf_destroy;
  decltype(&::rd_kafka_conf_set) conf_set;
  decltype(&::rd_kafka_conf_set_opaque) conf_set_opaque;
  decltype(&::rd_kafka_conf_set_dr_msg_cb) conf_set_dr_msg_cb;
  decltype(&::rd_kafka_conf_set_error_cb) conf_set_error_cb;
  decltype(&::rd_kafka_conf_set_log_cb) conf_set_log_cb;
  decltype(&::rd_kafka_new) create;
  decltype(&::rd_kafka_destroy) destroy;
  decltype(&::rd_kafka_produceva) produceva;
  decltype(&::rd_kafka_error_code) error_code;
  decltype(&::rd_kafka_error_destroy) error_destroy;
  decltype(&::rd_kafka_poll) poll;
  decltype(&::rd_kafka_purge) purge;
  decltype(&::rd_kafka_fatal_error) fatal_error;
  decltype(&::rd_kafka_err2str) err2str;
  decltype(&::rd_kafka_queue_get_main) queue_get_main;
  decltype(&::rd_kafka_queue_destroy) queue_destroy;
  decltype(&::rd_kafka_queue_io_event_enable) queue_io_event_enable;

  // The same object each time; the error says which package is missing.
  static Result<const KafkaLibrary*> load();
};

}  // namespace pillion::logs
