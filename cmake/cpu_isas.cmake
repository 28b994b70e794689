# The instruction sets that the CPU kernels are built for besides `generic`, and the compiler's options for each.
set(cpu_isas "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(cpu_isas avx2 avx2_vnni avx512 avx512_vnni avx512_bf16 avx512_amx)
  set(cpu_options_avx2 -mavx2 -mfma -mf16c)
  set(cpu_options_avx2_vnni ${cpu_options_avx2} -mavxvnni)
  set(cpu_options_avx512 ${cpu_options_avx2} -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  set(cpu_options_avx512_vnni ${cpu_options_avx512} -mavx512vnni)
  set(cpu_options_avx512_bf16 ${cpu_options_avx512_vnni} -mavx512bf16)
  # Not on top of avx512_bf16, whose products of pairs take longer than those of floats on a processor with AMX.
  set(cpu_options_avx512_amx ${cpu_options_avx512_vnni} -mamx-tile -mamx-int8)
endif()
