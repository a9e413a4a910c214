# How every target of the project is declared: one warnings target, one way to make a library, a
# program, a unit test, an integration scenario and a fuzz target.
add_library(pillion_warnings INTERFACE)
target_compile_options(pillion_warnings INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
  $<$<BOOL:${PILLION_WERROR}>:-Werror>
  # GCC 12 reports std::string's own memcpy when it optimises (GCC bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  # Under sanitizers GCC 12 takes std::regex's own moves for uninitialised (GCC bug 105562).
  $<$<AND:$<CXX_COMPILER_ID:GNU>,$<BOOL:${PILLION_SANITIZE}>>:-Wno-maybe-uninitialized>)

add_library(pillion_instrumentation INTERFACE)
if(PILLION_SANITIZE STREQUAL "address")
  target_compile_options(pillion_instrumentation INTERFACE -fsanitize=address,undefined
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(pillion_instrumentation INTERFACE -fsanitize=address,undefined)
elseif(PILLION_SANITIZE STREQUAL "thread")
  target_compile_options(pillion_instrumentation INTERFACE -fsanitize=thread
    -fno-omit-frame-pointer)
  target_link_options(pillion_instrumentation INTERFACE -fsanitize=thread)
endif()
if(PILLION_FUZZ)
  target_compile_options(pillion_instrumentation INTERFACE -fsanitize=fuzzer-no-link,address,undefined)
  target_link_options(pillion_instrumentation INTERFACE -fsanitize=address,undefined)
endif()
if(PILLION_COVERAGE)
  target_compile_options(pillion_instrumentation INTERFACE --coverage)
  target_link_options(pillion_instrumentation INTERFACE --coverage)
endif()

# pillion_library(NAME SOURCES... LINK targets...): static library target `pillion_NAME`, alias
# `pillion::NAME`. The include root is the repository's top, so includes name their folder.
function(pillion_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK;LINK_PRIVATE" ${ARGN})
  add_library(pillion_${name} STATIC ${arg_SOURCES})
  add_library(pillion::${name} ALIAS pillion_${name})
  target_include_directories(pillion_${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(pillion_${name} PUBLIC ${arg_LINK} pillion_instrumentation
    PRIVATE ${arg_LINK_PRIVATE} pillion_warnings)
endfunction()

# `programs` builds all that is installed and nothing that only tests need.
add_custom_target(programs)

# pillion_program(NAME SOURCES... LINK targets...): an installed program, built into build/.../bin.
function(pillion_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  add_dependencies(programs ${name})
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PRIVATE ${arg_LINK} pillion_warnings pillion_instrumentation)
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endfunction()

# pillion_unit_test(NAME SOURCES... LINK targets... [LABELS...]): a Catch2 program; every TEST_CASE
# becomes a CTest test with the label `unit`.
function(pillion_unit_test name)
  cmake_parse_arguments(arg "" "" "SOURCES;LINK;LABELS" ${ARGN})
  add_executable(unit_${name} ${arg_SOURCES})
  target_include_directories(unit_${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(unit_${name} PRIVATE ${arg_LINK} pillion_test_main pillion_warnings
    pillion_instrumentation)
  set_target_properties(unit_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
    ${PROJECT_BINARY_DIR}/tests)
  catch_discover_tests(unit_${name} TEST_PREFIX "${name}: "
    PROPERTIES LABELS "unit;${arg_LABELS}" TIMEOUT 120)
endfunction()

# pillion_integration_test(NAME [LABELS...] [TIMEOUT s] [SERIAL]): the scenario in
# tests/integration/NAME, run by pytest against the programs in build/.../bin. Its cases are counted
# one by one from test-results/NAME.xml; exit 77 means that all of them were skipped.
function(pillion_integration_test name)
  cmake_parse_arguments(arg "SERIAL" "TIMEOUT" "LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 180)
  endif()
  pillion_python_test("integration: ${name}" ${PROJECT_SOURCE_DIR}/tests/integration/${name}
    RESULT ${name} TIMEOUT ${arg_TIMEOUT} LABELS integration ${arg_LABELS})
  set_tests_properties("integration: ${name}" PROPERTIES RUN_SERIAL "${arg_SERIAL}")
endfunction()

# pillion_python_test(NAME PATH RESULT stem [TIMEOUT s] [LABELS...]): any other pytest file or folder.
function(pillion_python_test name path)
  cmake_parse_arguments(arg "" "TIMEOUT;RESULT" "LABELS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 180)
  endif()
  add_test(NAME "${name}"
    COMMAND ${PILLION_PYTHON} -m pytest -q -rs -p no:cacheprovider
            --rootdir ${PROJECT_SOURCE_DIR}/tests
            --junitxml ${PROJECT_BINARY_DIR}/test-results/${arg_RESULT}.xml
            -o junit_suite_name=${arg_RESULT} ${path})
  set_tests_properties("${name}" PROPERTIES
    LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT} SKIP_RETURN_CODE 77
    ENVIRONMENT "PILLION_BIN=${PROJECT_BINARY_DIR}/bin;PYTHONDONTWRITEBYTECODE=1;PYTHONPATH=${PROJECT_SOURCE_DIR}/tests;PILLION_BUILD=${PROJECT_BINARY_DIR}")
endfunction()

# pillion_fuzz_target(NAME SOURCES... LINK... CORPUS dir): with PILLION_FUZZ a libFuzzer program
# `fuzz_NAME`; always a test that replays the seed corpus through the same entry point, and edits of it for eight seconds.
function(pillion_fuzz_target name)
  cmake_parse_arguments(arg "" "CORPUS" "SOURCES;LINK" ${ARGN})
  if(PILLION_FUZZ)
    add_executable(fuzz_${name} ${arg_SOURCES})
    target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  else()
    add_executable(fuzz_${name} ${arg_SOURCES} ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cc)
    add_test(NAME "fuzz corpus: ${name}" COMMAND fuzz_${name} --seconds 8 ${arg_CORPUS})
    set_tests_properties("fuzz corpus: ${name}" PROPERTIES LABELS "fuzz" TIMEOUT 120)
  endif()
  target_include_directories(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(fuzz_${name} PRIVATE ${arg_LINK} pillion_warnings pillion_instrumentation)
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY
    ${PROJECT_BINARY_DIR}/tests)
endfunction()
