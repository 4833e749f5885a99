# Run as a script: cmake -DPROGRAMS=a;b -DOUT=DIR -P man.cmake. Each program prints its own page with --man and names there
# the pages of its jobs or verbs, which it prints with --man NAME.
file(REMOVE_RECURSE ${OUT}/man1)
file(MAKE_DIRECTORY ${OUT}/man1)

function(page program output)
  execute_process(COMMAND ${program} --man ${ARGN} OUTPUT_FILE ${OUT}/man1/${output}.1 RESULT_VARIABLE status)
  if(status)
    message(FATAL_ERROR "${program} --man ${ARGN} failed: ${status}")
  endif()
endfunction()

foreach(program ${PROGRAMS})
  get_filename_component(name ${program} NAME)
  page(${program} ${name})
  file(READ ${OUT}/man1/${name}.1 text)
  string(REPLACE "\\-" "-" text "${text}")
  string(REGEX MATCHALL "\\.BR ${name}-[a-z]+ \\(1\\)" parts "${text}")
  list(REMOVE_DUPLICATES parts)
  foreach(part ${parts})
    string(REGEX REPLACE "^\\.BR ${name}-([a-z]+) .*" "\\1" part "${part}")
    if(NOT "${name}-${part}" STREQUAL "thaw-lookup") # a program of its own
      page(${program} ${name}-${part} ${part})
    endif()
  endforeach()
endforeach()
file(WRITE ${OUT}/done "")
