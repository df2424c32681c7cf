# Run by ctest: installs the build tree `build`, then configures, builds and runs the project `example` against it.
set(work ${build}/install_and_embed)
set(program ${work}/build/embed)
file(REMOVE_RECURSE ${work})
file(MAKE_DIRECTORY ${work})
foreach(step
    "${CMAKE_COMMAND};--install;${build};--config;${config};--prefix;${work}/prefix"
    "${CMAKE_COMMAND};-S;${example};-B;${work}/build;-G;${generator};-DCMAKE_BUILD_TYPE=${config};-DCMAKE_PREFIX_PATH=${work}/prefix;-DCMAKE_CXX_COMPILER=${compiler};-DCMAKE_CXX_FLAGS=${flags}"
    "${CMAKE_COMMAND};--build;${work}/build"
    "${program}")
  execute_process(COMMAND ${step} WORKING_DIRECTORY ${work} COMMAND_ECHO STDOUT COMMAND_ERROR_IS_FATAL ANY)
endforeach()
