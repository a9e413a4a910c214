// Runs random worlds around the supervisor core until so many steps are done:
//   sim_supervisor [--seed N] [--steps N] [--verbose]
// Seeds count up from --seed. A broken invariant prints its seed and how to replay that world
// alone.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "tests/sim/sim_world.h"

namespace {

using pillion::supervisor::core::SimWorld;

// Worlds in which a bug of the core or of the simulation was found once; they run first, every
// time.
constexpr std::uint64_t kKeptSeeds[] = {1655, 1074, 1000250, 1000179, 1004973, 1028465, 2031530};

std::map<std::string, std::uint64_t> all_seen;

// Steps done, or 0 when an invariant broke.
std::uint64_t run_world(std::uint64_t seed, bool is_verbose) {
  SimWorld world(seed, is_verbose);
  while (world.step()) {
    if (world.steps() > 1'000'000) {
      std::printf("FAILED: seed %llu does not finish\n", static_cast<unsigned long long>(seed));
      return 0;
    }
  }
  for (const auto& [what, count] : world.seen()) all_seen[what] += count;
  if (world.failure().empty()) return world.steps() + 1;
  std::printf("FAILED: %s\nreplay: sim_supervisor --seed %llu --steps 1 --verbose\n",
              world.failure().c_str(), static_cast<unsigned long long>(seed));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 0;
  std::uint64_t steps = 1'000'000;
  bool is_verbose = false;
  bool is_seed_given = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--verbose") {
      is_verbose = true;
    } else if (argument == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
      is_seed_given = true;
    } else if (argument == "--steps" && i + 1 < argc) {
      steps = std::strtoull(argv[++i], nullptr, 10);
    } else {
      std::fprintf(stderr, "usage: sim_supervisor [--seed N] [--steps N] [--verbose]\n");
      return 64;
    }
  }
  std::uint64_t done = 0;
  std::uint64_t worlds = 0;
  if (!is_seed_given) {
    for (const std::uint64_t kept : kKeptSeeds) {
      const auto count = run_world(kept, is_verbose);
      if (count == 0) return 1;
      done += count;
    }
    seed = 1000;
  }
  for (; done < steps; ++seed, ++worlds) {
    const auto count = run_world(seed, is_verbose);
    if (count == 0) return 1;
    done += count;
  }
  std::printf("%llu steps in %llu worlds, all invariants hold\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(worlds));
  for (const auto& [what, count] : all_seen) {
    std::printf("  %-24s %llu\n", what.c_str(), static_cast<unsigned long long>(count));
  }
  return 0;
}
