// On-chip memory: one write port, one read port with registered output, one clock.
// Content is undefined until written. Reading a word in the cycle it is written gives the old
// word. ASIC flows replace this module by a macro of the same ports.
module silicast_ram #(
    parameter WIDTH = 8,
    parameter DEPTH = 2,
    parameter ADDRESS_BITS = 1
) (
    input  wire                    clk,
    input  wire                    write_enable,
    input  wire [ADDRESS_BITS-1:0] write_address,
    input  wire [WIDTH-1:0]        write_data,
    input  wire                    read_enable,
    input  wire [ADDRESS_BITS-1:0] read_address,
    output reg  [WIDTH-1:0]        read_data
);
  reg [WIDTH-1:0] words[0:DEPTH-1];

  always @(posedge clk) begin
    if (write_enable) words[write_address] <= write_data;
    if (read_enable) read_data <= words[read_address];
  end
endmodule
