"""The lab: emulated hosts with real KVM, and a stock guest that moves between them."""
