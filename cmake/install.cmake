# What `cmake --install` puts where: programs, the lookup library with header, pkg-config and CMake package, man pages,
# batch scripts, schemas, example job files, documentation.
include(CMakePackageConfigHelpers)

install(TARGETS thaw-lookup RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
if(THAW_MPI)
  install(TARGETS thaw RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

# ---- libthaw-lookup: the lookup module and what lies below it, in one library; only its own names are visible ----
set(below lookup cold features table dense proto schema base)
set(objects "")
foreach(module ${below})
  list(APPEND objects $<TARGET_OBJECTS:thaw_${module}>)
endforeach()
add_library(lookup_shared SHARED ${objects})
add_library(lookup_static STATIC ${objects})
target_link_libraries(lookup_shared PRIVATE PkgConfig::protobufc PkgConfig::xxhash PkgConfig::zlib Threads::Threads m)
set(exports ${CMAKE_SOURCE_DIR}/cmake/thaw-lookup.map)
target_link_options(lookup_shared PRIVATE -Wl,--as-needed -Wl,--version-script=${exports})
if(THAW_SANITIZE)
  target_link_options(lookup_shared PRIVATE -fsanitize=${THAW_SANITIZE})
else() # a module missing above is found here, not by who links the library
  target_link_options(lookup_shared PRIVATE -Wl,--no-undefined)
endif()
set_target_properties(lookup_shared PROPERTIES OUTPUT_NAME thaw-lookup EXPORT_NAME thaw-lookup LINKER_LANGUAGE C
                      LINK_DEPENDS ${exports} VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
set_target_properties(lookup_static PROPERTIES OUTPUT_NAME thaw-lookup LINKER_LANGUAGE C)
target_include_directories(lookup_shared INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
install(TARGETS lookup_shared EXPORT ThawLookup LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS lookup_static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES src/lookup/lookup.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/thaw)
install(FILES src/base/err.h src/base/side.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/thaw/base)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/ThawLookup)
install(EXPORT ThawLookup FILE ThawLookupTargets.cmake NAMESPACE ThawLookup:: DESTINATION ${package})
configure_package_config_file(cmake/ThawLookupConfig.cmake.in ${CMAKE_BINARY_DIR}/ThawLookupConfig.cmake
                              INSTALL_DESTINATION ${package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/ThawLookupConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/ThawLookupConfig.cmake ${CMAKE_BINARY_DIR}/ThawLookupConfigVersion.cmake
        DESTINATION ${package})
# The paths in the .pc file are taken relative to where it lies, so that an installed tree can be moved.
file(RELATIVE_PATH up /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
configure_file(cmake/thaw-lookup.pc.in ${CMAKE_BINARY_DIR}/thaw-lookup.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/thaw-lookup.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# ---- Man pages: the programs write them from their option tables ----
set(programs $<TARGET_FILE:thaw-lookup>)
if(THAW_MPI)
  list(PREPEND programs $<TARGET_FILE:thaw>)
endif()
add_custom_command(
  OUTPUT ${CMAKE_BINARY_DIR}/man/done
  COMMAND ${CMAKE_COMMAND} "-DPROGRAMS=${programs}" -DOUT=${CMAKE_BINARY_DIR}/man -P ${CMAKE_SOURCE_DIR}/cmake/man.cmake
  DEPENDS thaw-lookup $<$<BOOL:${THAW_MPI}>:thaw> ${CMAKE_SOURCE_DIR}/cmake/man.cmake VERBATIM)
add_custom_target(man ALL DEPENDS ${CMAKE_BINARY_DIR}/man/done)
install(DIRECTORY ${CMAKE_BINARY_DIR}/man/man1 DESTINATION ${CMAKE_INSTALL_MANDIR})

# ---- Slurm: scripts, and the module file, which finds the prefix by its own place ----
if(THAW_MPI)
  install(DIRECTORY slurm/ DESTINATION ${CMAKE_INSTALL_DATADIR}/thaw/slurm USE_SOURCE_PERMISSIONS FILES_MATCHING
          PATTERN "*.sbatch" PATTERN "*.sh" PATTERN "*.awk" PATTERN "submit" PATTERN "spack" EXCLUDE PATTERN "apptainer" EXCLUDE)
  install(FILES slurm/thaw.lua DESTINATION ${CMAKE_INSTALL_DATADIR}/thaw/modulefiles/thaw RENAME ${PROJECT_VERSION}.lua)
  file(RELATIVE_PATH submit /prefix/${CMAKE_INSTALL_BINDIR} /prefix/${CMAKE_INSTALL_DATADIR}/thaw/slurm/submit)
  install(CODE "file(CREATE_LINK ${submit} \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/thaw-submit\" SYMBOLIC)")
endif()

# ---- Data and documentation ----
install(FILES src/proto/thaw.proto DESTINATION ${CMAKE_INSTALL_DATADIR}/thaw/proto)
install(DIRECTORY jobs/examples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/thaw/jobs FILES_MATCHING PATTERN "*.ini")
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
