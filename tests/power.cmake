# Power loss and failing calls.  The library that stands between the program and the C library does not go with sanitizers,
# which do the same.
if(NOT UNDINE_TSAN AND NOT UNDINE_ASAN AND NOT UNDINE_FUZZ)
  add_library(crash_wrap MODULE crash/wrap_plan.c crash/io_wrap.c crash/alloc_wrap.c crash/place_wrap.c)
  target_link_libraries(crash_wrap PRIVATE undine_flags Threads::Threads dl)
  target_include_directories(crash_wrap PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  set_target_properties(crash_wrap PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  undine_script_test(power_loss crash/power_loss.py ARGS --cuts 14 LABELS slow integration)
  undine_script_test(power_loss_deltas crash/power_loss.py ARGS --deltas --cuts 14 LABELS slow integration)
  undine_script_test(damage crash/damage.py ARGS --deltas LABELS slow integration)
  undine_script_test(io_faults crash/io_faults.py LABELS slow integration)
endif()
