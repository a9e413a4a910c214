// The real environment and user database as LoadOptions: what programs use. Tests inject their own.
#pragma once

#include "config/load.h"

namespace pillion::config {

LoadOptions system_load_options();

}  // namespace pillion::config
