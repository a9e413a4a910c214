// The one translation unit that compiles Catch2's runner, linked by every unit test program.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
