// Runs random worlds around the supervisor core until so many steps are done:
//   sim_supervisor [--seed N] [--alone | --operated] [--steps N] [--verbose]
// Seeds count up from --seed; each world is run twice, alone and with an operator (--operated: only
// so). PILLION_SIM_STEPS overrides --steps, for runs of hours. A broken invariant prints its seed
// and how to replay that world alone.
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>

#include "tests/sim/kept_seeds.h"
#include "tests/sim/sim_world.h"

namespace {

using pillion::supervisor::core::kKeptSeeds;
using pillion::supervisor::core::SimWorld;

std::map<std::string, std::uint64_t> all_seen;

// Steps done, or 0 when an invariant broke.
std::uint64_t run_world(std::uint64_t seed, bool is_operated, bool is_verbose) {
  SimWorld world(seed, is_operated, is_verbose);
  while (world.step()) {
    if (world.steps() > 1'000'000) {
      std::printf("FAILED: seed %llu does not finish\n", static_cast<unsigned long long>(seed));
      return 0;
    }
  }
  for (const auto& [what, count] : world.seen()) all_seen[what] += count;
  if (world.failure().empty()) return world.steps() + 1;
  std::printf("FAILED: %s\nreplay: sim_supervisor --seed %llu%s --steps 1 --verbose\n",
              world.failure().c_str(), static_cast<unsigned long long>(seed),
              is_operated ? " --operated" : " --alone");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t seed = 0;
  std::uint64_t steps = 1'000'000;
  bool is_verbose = false;
  bool is_seed_given = false;
  bool runs_alone = true;
  bool runs_operated = true;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--verbose") {
      is_verbose = true;
    } else if (argument == "--operated") {
      runs_alone = false;
    } else if (argument == "--alone") {
      runs_operated = false;
    } else if (argument == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
      is_seed_given = true;
    } else if (argument == "--steps" && i + 1 < argc) {
      steps = std::strtoull(argv[++i], nullptr, 10);
    } else {
      std::fprintf(
          stderr,
          "usage: sim_supervisor [--seed N] [--alone | --operated] [--steps N] [--verbose]\n");
      return 64;
    }
  }
  if (const char* text = std::getenv("PILLION_SIM_STEPS")) {
    steps = std::strtoull(text, nullptr, 10);
  }
  std::uint64_t done = 0;
  std::uint64_t worlds = 0;
  if (!is_seed_given) {
    for (const auto& kept : kKeptSeeds) {
      const auto count = run_world(kept.seed, kept.is_operated, is_verbose);
      if (count == 0) return 1;
      done += count;
    }
    seed = 1000;
  }
  for (; done < steps; ++seed) {
    for (const bool is_operated : {false, true}) {
      if (is_operated ? !runs_operated : !runs_alone) continue;
      const auto count = run_world(seed, is_operated, is_verbose);
      if (count == 0) return 1;
      done += count;
      ++worlds;
    }
  }
  std::printf("%llu steps in %llu worlds, all invariants hold\n",
              static_cast<unsigned long long>(done), static_cast<unsigned long long>(worlds));
  for (const auto& [what, count] : all_seen) {
    std::printf("  %-24s %llu\n", what.c_str(), static_cast<unsigned long long>(count));
  }
  return 0;
}
